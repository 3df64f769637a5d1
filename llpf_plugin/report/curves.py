"""Figures of losses: along one path, along several, and against what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llpf_plugin.quality import Quality
from llpf_plugin.report.bands import bands, shade
from llpf_plugin.report.style import BLUE, CARD, GREEN, INK, MUTED, ORANGE, SERIES, new_figure, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = 1e-12
"""Where a loss of 0 is drawn."""

ALONG = "position t along the path (0 is A, 1 is B)"


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


@dataclass(frozen=True)
class Dot:
    """One run in a comparison.

    Attributes:
        name: of the run.
        method: of the run; runs of one method share a colour.
        steps: gradient steps that it took, None if it is not known.
        maximum: dense maximum of the training loss.
    """

    name: str
    method: str
    steps: float | None
    maximum: float


LABEL = (60, 10)
"""Width and height of a dot's name, in points."""


def method_colors(methods: Sequence[str]) -> dict[str, str]:
    """A colour a method, in order of appearance."""
    return {m: SERIES[i % len(SERIES)] for i, m in enumerate(dict.fromkeys(methods))}


def frontier_figure(dots: Sequence[Dot], goal: float | None) -> "Figure":
    """Gradient steps against the dense maximum of the training loss: best is lower left."""
    figure = new_figure(CARD)
    axes = figure.subplots()
    colors = method_colors([dot.method for dot in dots])
    known = [dot for dot in dots if dot.steps is not None and np.isfinite(dot.maximum)]
    for dot in known:
        axes.plot(dot.steps or 0, max(dot.maximum, FLOOR), "o", color=colors[dot.method], ms=7, alpha=0.9)
    if len(known) > 8:
        for method, color in colors.items():
            axes.plot([], [], "o", color=color, label=method)
        axes.legend()
    if goal is not None:
        axes.axhline(goal, color=INK, ls=(0, (5, 3)), lw=0.9)
        axes.text(
            0.01, goal, f"goal {goal:.3g}", ha="left", va="bottom", fontsize=8, transform=axes.get_yaxis_transform()
        )
    most = max((dot.steps or 0 for dot in known), default=1)
    axes.set_xlim(-0.04 * max(most, 1), 1.3 * max(most, 1))
    axes.margins(y=0.2)
    plain_log(axes)
    axes.set_xlabel("gradient steps")
    axes.set_ylabel("dense maximum of the training loss")
    if len(known) <= 8:
        _name(axes, known)
    return figure


def _name(axes: "Axes", dots: Sequence[Dot]) -> None:
    """The dots' names beside them, from the lowest up, each pushed up until it is clear of the others."""
    placed: list[tuple[float, float]] = []
    points = 72 / axes.figure.dpi
    for dot in sorted(dots, key=lambda d: d.maximum):
        there = (dot.steps or 0, max(dot.maximum, FLOOR))
        x, y = points * axes.transData.transform(there)
        up = y + 2
        for left, low in sorted(placed, key=lambda p: p[1]):
            if abs(left - x) < LABEL[0] and abs(low - up) < LABEL[1]:
                up = low + LABEL[1]
        placed.append((x, up))
        axes.annotate(dot.name, there, (7, up - y), textcoords="offset points", fontsize=8, color=INK)


def overlay_figure(measured: Mapping[str, Quality], methods: Mapping[str, str], goal: float | None) -> "Figure":
    """Training loss along every path.

    Args:
        measured: quality by the name of the run.
        methods: method by the name of the run.
        goal: drawn as a dashed line.
    """
    figure = new_figure(CARD)
    axes = figure.subplots()
    colors = method_colors(list(methods.values()))
    styles: dict[str, int] = {}
    for name, quality in measured.items():
        method = methods[name]
        style = ("-", "--", "-.", ":")[styles.setdefault(method, 0) % 4]
        styles[method] += 1
        loss = np.maximum(quality.column("train"), FLOOR)
        axes.plot(quality.column("t"), loss, style, color=colors[method], lw=1.4, label=name)
    if goal is not None:
        axes.axhline(goal, color=INK, ls=(0, (5, 3)), lw=0.9)
    axes.set_xlim(-0.01, 1.01)
    plain_log(axes)
    axes.set_xlabel(ALONG)
    axes.set_ylabel("training loss")
    if len(measured) <= 8:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.01), ncols=3, borderaxespad=0, handlelength=1.6)
    return figure
