"""More than two models: the tree of what was joined with what, and what came of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llpf_plugin.errors import RunError
from llpf_plugin.files import write_json
from llpf_plugin.merging.tree import Node, balanced
from llpf_plugin.report.style import GREEN, INK, MUTED, PAPER, RED, WIDE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "tree.json"
"""In a folder of runs: which models they join, and how."""


@dataclass(frozen=True)
class Join:
    """A pair of a tree.

    Attributes:
        node: which models it joins.
        connected: whether its path is.
        maximum: the dense maximum of the training loss.
        steps: gradient steps.
        seconds: of the search.
        scores: of A, B and ``merged``, as people read them.
        goes_on: ``merged``, or the end that went on because the pair is not connected.
    """

    node: Node
    connected: bool
    maximum: float
    steps: int
    seconds: float
    scores: Mapping[str, str]
    goes_on: str = "merged"


def save_tree(folder: Path, names: Sequence[str], joins: Sequence[Join]) -> None:
    """Write what became of a tree beside its runs."""
    rows = [{**vars(join), "node": [join.node.first, join.node.last], "scores": dict(join.scores)} for join in joins]
    write_json(folder / FILE, {"models": list(names), "joins": rows})


def open_tree(folder: Path) -> tuple[list[str], list[Join]] | None:
    """Inverse of `save_tree`; None where the folder holds no tree.

    Raises:
        RunError: the file was edited or damaged.
    """
    if not (folder / FILE).is_file():
        return None
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
        joins = [Join(**{**row, "node": Node(*row["node"])}) for row in document["joins"]]
        names = [str(name) for name in document["models"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / FILE} cannot be read ({error}): it was edited or damaged") from error
    if {join.node for join in joins} != set(balanced(len(names)).pairs()):
        raise RunError(f"{folder / FILE} does not describe a tree of {len(names)} models: it was edited")
    return names, joins


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
