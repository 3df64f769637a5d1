"""What a running search consists of, and what a caller may hang into it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llpf_plugin.search.trail import Trail

if TYPE_CHECKING:
    from llpf_plugin.search.find import Search


@dataclass(frozen=True)
class Stretch:
    """A piece of the path that is to be found: from knot to knot, and how strictly (0: the walk itself).

    One whose end comes before its start on the path is walked backwards, and its knots are reversed. One that is
    ``open`` walks towards the origin, and its end is the last knot that it reaches. With ``polish`` it is the whole
    path, trained as a chain of knots: until it comes under ``target``, or without one for all of its steps.
    """

    start: int
    end: int
    strictness: int = 0
    leg: str = ""
    open: bool = False
    polish: bool = False
    target: float | None = None


class Callback:
    """What a caller may hang into the loop; every method may be left out."""

    def on_start(self, search: "Search") -> None:
        """The ends have been measured and the goal is known."""

    def on_tick(self, search: "Search", report: Mapping[str, Any]) -> None:
        """A tick is done; ``report`` is its record."""

    def on_measure(self, search: "Search", done: int, total: int) -> None:
        """So many segments of the dense path have been measured."""

    def on_end(self, search: "Search") -> None:
        """The search is over."""


@dataclass
class Progress:
    """All that changes while a search runs, as JSON values; with the finder's tensors it is enough to go on.

    Attributes:
        chain: knots of the path so far, from A's (0) to B's (1).
        fresh: knots of the stretch that is being walked, by the end that their walker set out from: ``A``, ``B``.
        labels: of every knot.
        todo: stretches still to be walked, the first one under way.
        round: repairs begun.
        polished: whether polishing was begun.
        former: the path before polishing (chain, segments, outcome), until the polished one has been measured.
        state: the finder's, None between stretches.
        steps: gradient steps.
        begun: gradient steps before the stretch under way.
        walked: gradient steps of the walk itself, without repairs.
        segments: rows of the segments measured so far, by "knot-knot".
        ends: rows of A and B, and the mean mini-batch loss.
        record: one entry a tick.
        next_knot: the identifier of the next knot.
        dropped: knots dropped as superfluous.
        outcome: of the first walk.
        seconds: spent so far, earlier sessions included.
        legs: what the walk of each leg came to, by the leg's name: its outcome and its gradient steps.
    """

    chain: list[int]
    fresh: dict[str, Trail]
    labels: dict[str, dict[str, Any]]
    todo: list[Stretch]
    round: int
    state: dict[str, Any] | None
    steps: int
    begun: int
    walked: int
    segments: dict[str, list[dict[str, Any]]]
    ends: dict[str, Any]
    record: list[dict[str, Any]]
    next_knot: int
    dropped: int
    outcome: str | None
    seconds: float
    legs: dict[str, dict[str, Any]] = field(default_factory=dict)
    polished: bool = False
    former: dict[str, Any] | None = None

    @classmethod
    def new(cls) -> "Progress":
        """Before the first tick: the straight line from A to B, all of it to be walked."""
        labels = {"0": {"kind": "start", "side": "A"}, "1": {"kind": "end", "side": "B"}}
        return cls([0, 1], trails(), labels, [Stretch(0, 1)], 0, None, 0, 0, 0, {}, {}, [], 2, 0, None, 0.0)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Progress":
        """Inverse of ``dataclasses.asdict``."""
        fresh = {side: Trail(**trail) for side, trail in values["fresh"].items()}
        return cls(**{**values, "fresh": fresh, "todo": [Stretch(**s) for s in values["todo"]]})


def trails() -> dict[str, Trail]:
    """No knots yet on either side."""
    return {"A": Trail(), "B": Trail()}
