"""More than two models: which pairs are joined, as a balanced binary tree, and what goes on from a pair."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from llpf_plugin.errors import LLPFError

T = TypeVar("T")


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


def best(candidates: Sequence[tuple[T, float]]) -> T:
    """What goes on from a pair: the candidate with the lowest loss; the first of several, and NaN last."""
    return min(candidates, key=lambda c: (c[1] != c[1], c[1]))[0]
