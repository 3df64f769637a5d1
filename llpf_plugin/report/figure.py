"""One picture of a path: loss and accuracy along it, and how far each part of the network still has to go."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llpf_plugin.errors import LLPFError
from llpf_plugin.files import atomic_write
from llpf_plugin.legs import ORIGIN, UP
from llpf_plugin.quality import Quality
from llpf_plugin.weights import relative_distance, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, GREY = "#1f6fb2", "#d9731a", "#3a8f5c", "#8a8a8a"
MOST_LINES = 10
"""Parts of the network that the distance panel tells apart."""


def draw_path(
    quality: Quality, place: str | Path, picked: float | None = None, slices: Mapping[str, Any] | None = None
) -> Path:
    """Write the picture of a measured path.

    Args:
        quality: the measured path.
        place: file to write; the suffix says the format (png, svg, pdf).
        picked: position of the merged model.
        slices: coordinates by phase; with fewer than two, the model's top-level modules are drawn.

    Raises:
        LLPFError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LLPFError("pictures need matplotlib: pip install 'llpf-plugin[report]'") from error
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _shade_phases(above, quality)
    _draw_losses(above, quality, picked)
    _draw_distances(below, quality, _parts(quality, slices))
    below.set_xlabel("position t along the path (0 is A, 1 is B)")
    verdict = "connected" if quality.connected else "not connected"
    steps = quality.path.cost.get("gradient_steps")
    title = f"{verdict}: training loss at most {quality.maximum:.3g}, length ratio {quality.path.length_ratio:.2f}"
    figure.suptitle(title + (f", {steps} gradient steps" if steps is not None else ""), fontsize=11)
    suffix = Path(place).suffix.lstrip(".") or "png"
    return atomic_write(place, lambda target: figure.savefig(target, format=suffix, dpi=130))


def _draw_losses(axes: "Axes", quality: Quality, picked: float | None) -> None:
    t = quality.column("t")
    axes.plot(t, quality.column("train"), color=BLUE, label="training loss")
    if np.isfinite(quality.column("validation")).any():
        axes.plot(t, quality.column("validation"), color=ORANGE, label="validation loss")
    if quality.limit is not None:
        axes.axhline(quality.limit, color=GREY, ls="--", lw=1, label=f"goal {quality.limit:.3g}")
    if picked is not None:
        axes.axvline(picked, color=GREEN, lw=1.5, label=f"merged model, t = {picked:.2f}")
    axes.plot(quality.path.positions, [axes.get_ylim()[0]] * len(quality.path.knots), "|", color=BLUE, ms=7)
    axes.set_yscale("log")
    axes.set_ylabel("loss")
    accuracy = quality.column("train_accuracy")
    if np.isfinite(accuracy).any():
        right = axes.twinx()
        right.plot(t, 100 * accuracy, color=BLUE, lw=1, alpha=0.5, ls=":", label="training accuracy")
        validation = quality.column("validation_accuracy")
        if np.isfinite(validation).any():
            right.plot(t, 100 * validation, color=ORANGE, lw=1, alpha=0.6, ls=":", label="validation accuracy")
        right.set_ylabel("accuracy (%, dotted)")
    axes.legend(loc="upper right", fontsize=8, framealpha=0.9)


def _shade_phases(axes: "Axes", quality: Quality) -> None:
    """A band for every run of knots of one phase, every second one shaded, with its name."""
    positions, labels = quality.path.positions, quality.path.labels
    if not labels:
        return
    names = [label.get("leg") or label.get("phase") or "" for label in labels]
    begin, bands = 1, []
    for i in range(2, len(names) + 1):
        if i == len(names) or names[i] != names[begin]:
            bands.append((positions[begin - 1], positions[i - 1], names[begin]))
            begin = i
    for number, (left, right, name) in enumerate(bands):
        if number % 2 == 0:
            axes.axvspan(left, right, color=GREY, alpha=0.12, lw=0)
        if name and right - left > 0.04:
            axes.text(
                (left + right) / 2,
                1.01,
                name,
                ha="center",
                va="bottom",
                fontsize=8,
                transform=axes.get_xaxis_transform(),
            )


def _parts(quality: Quality, slices: Mapping[str, Any] | None) -> dict[str, list[str]]:
    if slices is not None and len(slices) > 1:
        return {name: sorted(own) for name, own in slices.items()}
    parts: dict[str, list[str]] = {}
    for name in quality.path.knots[0]:
        parts.setdefault(name.split(".")[0], []).append(name)
    return parts


def _draw_distances(axes: "Axes", quality: Quality, parts: Mapping[str, Sequence[str]]) -> None:
    from matplotlib import colormaps

    path = quality.path
    destination = path.knots[path.destination]
    distances = [[relative_distance(select(knot, own), destination) for own in parts.values()] for knot in path.knots]
    many = len(parts) > MOST_LINES
    for i, name in enumerate(parts):
        color = colormaps["viridis"](i / max(1, len(parts) - 1) * 0.9)
        axes.plot(path.positions, [row[i] for row in distances], color=color, lw=1.2, label=None if many else name)
    walked = {label.get("leg") for label in path.labels}
    axes.set_ylabel(f"relative distance to {'B′' if UP in walked else 'the end' if ORIGIN in walked else 'B'}")
    axes.set_ylim(bottom=0)
    if not many:
        axes.legend(loc="upper right", fontsize=7, ncols=2 if len(parts) > 5 else 1, framealpha=0.9)
