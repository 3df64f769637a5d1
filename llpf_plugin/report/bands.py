"""The phases of a path as bands along it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from llpf_plugin.geometry.path import Path
from llpf_plugin.report.style import BAND, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Band(NamedTuple):
    """A stretch of the path that one phase walked."""

    left: float
    right: float
    name: str


def bands(path: Path) -> list[Band]:
    """Runs of neighbouring segments whose knots carry the same phase; none if knots carry no labels."""
    if len(path.labels) != len(path.knots):
        return []
    found: list[Band] = []
    names = [label.leg or label.phase or "" for label in path.labels]
    for i, name in enumerate(names[1:], start=1):
        name = name or (names[i - 1] if i + 1 == len(names) else "")
        left, right = float(path.positions[i - 1]), float(path.positions[i])
        if found and found[-1].name == name:
            found[-1] = found[-1]._replace(right=right)
        else:
            found.append(Band(left, right, name))
    return found


def shade(axes: "Axes", found: Sequence[Band], names: bool = True) -> None:
    """Every second band shaded; names above the axes where there is room for them."""
    for i, band in enumerate(found):
        if i % 2 == 0:
            axes.axvspan(band.left, band.right, color=BAND, lw=0, zorder=0)
        room = (band.right - band.left) * axes.get_window_extent().width
        if names and band.name and room > 5.5 * len(band.name) + 4:
            axes.text(
                (band.left + band.right) / 2, 1.015, band.name, ha="center", va="bottom", fontsize=7.5, color=MUTED,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
