"""Figures along one path: its loss, accuracy and phases; and the one picture that a run writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from llpf_plugin.geometry.path import Path as LossPath
from llpf_plugin.quality import Quality, trace_layers
from llpf_plugin.report.style import (
    BAND,
    BLUE,
    GREEN,
    INK,
    MUTED,
    NAMED,
    ORANGE,
    depth_colors,
    drawing,
    new_figure,
    plain_log,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = 1e-12
"""Where a loss of 0 is drawn."""

ALONG = "position t along the path (0 is A, 1 is its end)"


class Band(NamedTuple):
    """A stretch of the path that one phase walked."""

    left: float
    right: float
    name: str


def bands(path: LossPath) -> list[Band]:
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


def path_figure(
    quality: Quality, size: tuple[float, float], picked: float | None = None, line: Sequence[float] = ()
) -> "Figure":
    """Loss and accuracy along a path, its phases shaded, its knots as ticks.

    Args:
        quality: the measured path.
        size: in inches.
        picked: position of the merged model.
        line: training losses at evenly spaced points of the straight line.
    """
    figure = new_figure(size)
    scored = np.isfinite(quality.column("train_accuracy")).any()
    if not scored:
        loss_panel(axes := figure.subplots(), quality, picked, line)
        axes.set_xlabel(ALONG)
        return figure
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.6])
    loss_panel(above, quality, picked, line)
    accuracy_panel(below, quality, picked)
    below.set_xlabel(ALONG)
    return figure


def loss_panel(axes: "Axes", quality: Quality, picked: float | None, line: Sequence[float]) -> None:
    """Training and validation loss, the goal, the merged model, and the straight line for comparison."""
    t = quality.column("t")
    axes.set_xlim(-0.01, 1.01)
    shade(axes, bands(quality.path))
    if len(line):
        axes.plot(
            np.linspace(0, 1, len(line)), np.maximum(line, FLOOR), ":", color=MUTED, lw=1.3, label="straight line"
        )
    for split, color in (("validation", ORANGE), ("train", BLUE)):
        loss = quality.column(split)
        if np.isfinite(loss).any():
            axes.plot(t, np.maximum(loss, FLOOR), color=color, label="training" if split == "train" else split)
    if quality.goal is not None:
        axes.axhline(quality.goal, color=INK, ls=(0, (5, 3)), lw=0.9, label=f"goal {quality.goal:.3g}")
    if picked is not None:
        axes.axvline(picked, color=GREEN, lw=1.3, label="merged model")
    axes.plot(
        quality.path.positions, np.zeros(len(quality.path.knots)), "|", color=MUTED, ms=6, mew=0.7,
        transform=axes.get_xaxis_transform(), clip_on=False,
    )  # fmt: skip
    plain_log(axes)
    axes.set_ylabel("loss")
    columns = 3 if axes.figure.get_figwidth() < 6 else 5  # type: ignore[union-attr]
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=columns, borderaxespad=0, handlelength=1.6)


def accuracy_panel(axes: "Axes", quality: Quality, picked: float | None) -> None:
    """Training and validation accuracy in percent."""
    t = quality.column("t")
    shade(axes, bands(quality.path), names=False)
    for split, color in (("validation", ORANGE), ("train", BLUE)):
        accuracy = quality.column(f"{split}_accuracy")
        if np.isfinite(accuracy).any():
            axes.plot(t, 100 * accuracy, color=color)
    if picked is not None:
        axes.axvline(picked, color=GREEN, lw=1.3)
    axes.set_ylabel("accuracy, %")


def draw_path(quality: Quality, place: str | Path, picked: float | None = None) -> Path:
    """Write the picture of a measured path.

    Args:
        quality: the measured path.
        place: file to write; the suffix says the format (png, svg, pdf).
        picked: position of the merged model.

    Raises:
        LLPFError: matplotlib is not installed.
    """
    with drawing():
        figure = new_figure((8.6, 7.2))
        above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.6, 2.2])
        loss_panel(above, quality, picked, ())
        accuracy_panel(middle, quality, picked)
        parts = _parts(quality)
        trace = trace_layers(quality.path, parts)
        shade(below, bands(quality.path), names=False)
        for i, color in enumerate(depth_colors(len(parts))):
            name = trace.layers[i] if len(parts) <= NAMED else None
            below.plot(trace.positions, trace.distance[:, i], color=color, lw=1.3, label=name)
        below.set_ylabel("distance to the destination")
        below.set_ylim(bottom=0)
        below.set_xlabel(ALONG)
        if len(parts) <= NAMED:
            below.legend(fontsize=7.5, ncols=2 if len(parts) > 5 else 1)
        figure.suptitle(title(quality), fontsize=10.5)
        return save(figure, Path(place))


def title(quality: Quality) -> str:
    """The verdict in one line."""
    verdict = "connected" if quality.connected else "not connected"
    steps = quality.path.cost.gradient_steps
    words = f"{verdict}: training loss at most {quality.maximum:.3g}, length ratio {quality.path.length_ratio:.2f}"
    return words + (f", {steps} gradient steps" if steps is not None else "")


def _parts(quality: Quality) -> dict[str, list[str]]:
    """The model's top-level modules."""
    parts: dict[str, list[str]] = {}
    for name in quality.path.knots[0]:
        parts.setdefault(name.split(".")[0], []).append(name)
    return parts
