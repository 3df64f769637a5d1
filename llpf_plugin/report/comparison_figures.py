"""Figures that show several runs at once: cost against loss, all paths, and the tree of more than two models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llpf_plugin.documents import shortened
from llpf_plugin.quality import Quality
from llpf_plugin.report.path_figures import ALONG, FLOOR
from llpf_plugin.report.style import CARD, GREEN, INK, MUTED, PAPER, RED, SERIES, WIDE, new_figure, plain_log
from llpf_plugin.runs.tree import Join, Node, balanced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


NAME, ACROSS = 30, 45
"""Characters of a run's name at most, and of the names side by side above a card."""

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
        axes.annotate(shortened(dot.name, NAME), there, (7, up - y), textcoords="offset points", fontsize=8, color=INK)


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
        axes.plot(quality.column("t"), loss, style, color=colors[method], lw=1.4, label=shortened(name, NAME))
    if goal is not None:
        axes.axhline(goal, color=INK, ls=(0, (5, 3)), lw=0.9)
    axes.set_xlim(-0.01, 1.01)
    plain_log(axes)
    axes.set_xlabel(ALONG)
    axes.set_ylabel("training loss")
    if len(measured) <= 8:
        longest = max(len(shortened(name, NAME)) for name in measured)
        beside = {"ncols": max(1, min(3, ACROSS // longest)), "borderaxespad": 0, "handlelength": 1.6}
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.01), **beside)
    return figure


def tree_figure(names: Sequence[str], joins: Sequence[Join], size: tuple[float, float] = WIDE) -> "Figure":
    """The models at the foot, every pair above what it joins.

    Args:
        names: of the models.
        joins: one per pair.
        size: in inches.
    """
    figure = new_figure(size)
    axes = figure.subplots()
    root, found = balanced(len(names)), {join.node: join for join in joins}
    for node in root.pairs():
        _draw(axes, node, found[node], names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(-0.55, root.height + 0.55)
    axes.set_axis_off()
    return figure


def _draw(axes: "Axes", node: Node, join: Join, names: Sequence[str]) -> None:
    """One pair: lines down to its halves, and its verdict where they meet."""
    x, y = _middle(node), node.height
    color = GREEN if join.connected else RED
    for side, half in zip("AB", node.halves, strict=True):
        solid = join.goes_on in ("merged", side)
        axes.plot([_middle(half), _middle(half), x], [half.height, y, y], "-" if solid else ":", color=color, lw=1.5)
        if half.leaf:
            _label(axes, half, f"{shortened(names[half.first], NAME)}\n{join.scores[side]}", MUTED)
    words = f"max {join.maximum:.3g}, {join.steps} steps"
    _label(axes, node, f"{join.scores['merged' if join.goes_on == 'merged' else join.goes_on]}\n{words}", color)


def _label(axes: "Axes", node: Node, text: str, color: str) -> None:
    box = {"boxstyle": "round,pad=0.35", "facecolor": PAPER, "edgecolor": color, "linewidth": 0.8}
    axes.text(_middle(node), node.height, text, ha="center", va="center", fontsize=8, color=INK, bbox=box)


def _middle(node: Node) -> float:
    """Where a node stands above its models."""
    return float(node.first) if node.leaf else sum(_middle(half) for half in node.halves) / 2
