"""The knots that a walker has left behind, and which of them the path can do without."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llpf_plugin.geometry.path import simplify

BLOCK = 32
"""Knots that are looked at together when superfluous ones are dropped; shorter walks keep every knot."""


@dataclass
class Trail:
    """The knots of one walker, by identifier, in the order in which it settled on them.

    Attributes:
        knots: what is left of them.
        looked: how many of ``knots`` have been looked at for dropping.
    """

    knots: list[int] = field(default_factory=list)
    looked: int = 0

    def full(self, low: bool) -> bool:
        """Whether a block waits to be thinned. Its last knot stays, so a knot with a ``low`` loss is waited for."""
        waiting = len(self.knots) - self.looked
        return waiting >= BLOCK and (low or waiting >= 2 * BLOCK)

    def thin(self, start: int, keeps_loss: Callable[[int, int], bool]) -> Sequence[int]:
        """Drop what the last block can do without.

        Args:
            start: the knot that the walker came from.
            keeps_loss: whether the straight segment between two knots may replace what lies between them.

        Returns:
            The dropped knots.
        """
        block = self.knots[self.looked :]
        before = self.knots[self.looked - 1] if self.looked else start
        kept = simplify([before, *block], keeps_loss)[1:]
        self.knots[self.looked :] = kept
        self.looked = len(self.knots)
        return sorted(set(block) - set(kept))
