"""More than two models: which pairs are merged, as a balanced binary tree, and what became of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llpf_plugin.errors import LLPFError, RunError
from llpf_plugin.files import write_json
from llpf_plugin.records import Record
from llpf_plugin.runs.document import read_json, unreadable

_ENDS = ("first", "last")

FILE = "tree.json"
"""In a folder of runs: which models they join, and how."""


@dataclass(frozen=True)
class Node:
    """The models ``first`` to ``last`` of a list, counted from 0: one of them, or the pair that joins them.

    Halves are as equal as can be, so that no model is joined more than ⌈log₂ n⌉ times.
    """

    first: int
    last: int

    @property
    def leaf(self) -> bool:
        """Whether it is one model."""
        return self.first == self.last

    @property
    def name(self) -> str:
        """Counted from 1, as people do: ``3`` for a model, ``1-4`` for what joins four."""
        return f"{self.first + 1}" if self.leaf else f"{self.first + 1}-{self.last + 1}"

    @property
    def halves(self) -> tuple["Node", "Node"]:
        """What a pair joins."""
        middle = (self.first + self.last) // 2
        return Node(self.first, middle), Node(middle + 1, self.last)

    @property
    def height(self) -> int:
        """Pairs above one another, 0 for a model."""
        return 0 if self.leaf else 1 + max(half.height for half in self.halves)

    def pairs(self) -> Iterator["Node"]:
        """Every pair under this one and itself, halves before what joins them."""
        if not self.leaf:
            for half in self.halves:
                yield from half.pairs()
            yield self


def balanced(count: int) -> Node:
    """The tree that joins so many models.

    Raises:
        LLPFError: fewer than one.
    """
    if count < 1:
        raise LLPFError("there is no model to join")
    return Node(0, count - 1)


@dataclass(frozen=True)
class Join(Record):
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
    document = read_json(folder / FILE)
    try:
        joins = [
            Join.from_json({**row, "node": dict(zip(_ENDS, row["node"], strict=True))}) for row in document["joins"]
        ]
        names = [str(name) for name in document["models"]]
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(folder / FILE, error) from error
    if not names or {join.node for join in joins} != set(balanced(len(names)).pairs()):
        raise RunError(f"{folder / FILE} does not describe a tree of {len(names)} models: it was edited")
    return names, joins
