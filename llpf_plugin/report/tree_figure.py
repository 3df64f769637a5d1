"""More than two models: the tree of what was joined with what, and what came of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llpf_plugin.report.style import GREEN, INK, MUTED, PAPER, RED, WIDE, new_figure
from llpf_plugin.runs.tree import Join, Node, balanced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def tree_figure(names: Sequence[str], joins: Sequence[Join], size: tuple[float, float] = WIDE) -> "Figure":
    """The models at the foot, every pair above what it joins.

    Args:
        names: of the models.
        joins: one a pair.
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
            _label(axes, half, f"{names[half.first]}\n{join.scores[side]}", MUTED)
    words = f"max {join.maximum:.3g}, {join.steps} steps"
    _label(axes, node, f"{join.scores['merged' if join.goes_on == 'merged' else join.goes_on]}\n{words}", color)


def _label(axes: "Axes", node: Node, text: str, color: str) -> None:
    box = {"boxstyle": "round,pad=0.35", "facecolor": PAPER, "edgecolor": color, "linewidth": 0.8}
    axes.text(_middle(node), node.height, text, ha="center", va="center", fontsize=8, color=INK, bbox=box)


def _middle(node: Node) -> float:
    """Where a node stands above its models."""
    return float(node.first) if node.leaf else sum(_middle(half) for half in node.halves) / 2
