"""Where the knots of a search are kept, and how a path reads them."""

from collections.abc import Sequence
from typing import Any, Protocol

from llpf_plugin.geometry.weights import Weights, clone


class Knots(Protocol):
    """Where a search keeps its knots: in memory, or in a run's folder."""

    def put(self, knot: int, weights: Weights) -> None:
        """Keep a knot under an identifier."""

    def get(self, knot: int) -> Weights:
        """The knot of that identifier."""

    def discard(self, knots: Sequence[int]) -> None:
        """These knots are needed no longer."""


class MemoryKnots:
    """Knots in a dictionary on the CPU."""

    def __init__(self) -> None:
        self._knots: dict[int, Weights] = {}

    def put(self, knot: int, weights: Weights) -> None:
        """Keep a copy."""
        self._knots[knot] = clone(weights, "cpu")

    def get(self, knot: int) -> Weights:
        """The knot itself."""
        return self._knots[knot]

    def discard(self, knots: Sequence[int]) -> None:
        """Forget knots."""
        for knot in knots:
            del self._knots[knot]


class Chain(Sequence[Weights]):
    """The knots of a path by position, read when they are asked for."""

    def __init__(self, knots: Knots, ids: Sequence[int]) -> None:
        self.knots, self.ids = knots, tuple(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Chain(self.knots, self.ids[index])
        return self.knots.get(self.ids[index])
