"""What a running search consists of, and what a caller may hang into it."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from torch import Tensor

from llpf_plugin.documents import quoted, validated
from llpf_plugin.evaluation.goal import Ends, Goal
from llpf_plugin.geometry.path import Path
from llpf_plugin.methods.base import Stretch
from llpf_plugin.records import Knot, LegCost, Outcome, Rate, Record, Row, Spent, Tick
from llpf_plugin.workspace import Workspace


@dataclass
class Fresh(Record):
    """The knots of the stretch that is being searched, in the order in which it settled on them.

    Attributes:
        knots: what is left of them, by identifier.
        looked: how many of them have been looked at for dropping.
        start: the one that the search went on from at a smaller learning rate, None if it did not.
        again: how many of them have been looked at a second time.
    """

    knots: list[int] = field(default_factory=list)
    looked: int = 0
    start: int | None = None
    again: int = 0


@dataclass
class EquivalentEnd(Record):
    """A network that computes what B does, at which the path ends in place of B.

    Attributes:
        knot: the identifier of its coordinates.
        rest: that of what it has besides, such as buffers.
        rows: what was measured of it, as of B.
    """

    knot: int
    rest: int
    rows: dict[str, Row]


@dataclass
class Cut(Record):
    """Where the budget ended a stretch, kept so that a search with a larger one goes on from there.

    Attributes:
        chain, todo, labels, fresh, state, begun, legs: as of `Progress`, before the stretch was put into the path.
    """

    chain: list[int]
    todo: list[Stretch]
    labels: dict[str, Knot]
    fresh: Fresh
    state: dict[str, Any]
    begun: int
    legs: dict[str, LegCost]

    @classmethod
    def of(cls, progress: "Progress") -> "Cut":
        """A copy of what a progress has."""
        return cls(**{field.name: deepcopy(getattr(progress, field.name)) for field in fields(cls)})


@dataclass
class Progress:
    """All that changes while a search runs; with the solver's tensors it is enough to continue.

    Attributes:
        chain: knots of the path so far, from A's (0) to B's (1).
        todo: stretches still to be searched, the first one under way.
        labels: of every knot, by identifier as text.
        fresh: knots of the stretch under way.
        state: the solver's, None between stretches.
        ended: name of the outcome of the stretch under way, None while it continues.
        outcome: of the search itself, without repairs.
        round: rounds of repair begun.
        before: the chain as it was before the round under way, empty before the first.
        highest: the maximum training loss that it had.
        repaired: gradient steps of the last round of repair for each stretch.
        undone: rounds of repair that made the path worse, and were undone.
        steps: gradient steps.
        begun: gradient steps before the solver under way.
        spent: seconds and forward passes so far by kind of work, earlier sessions included.
        ends: A and B, measured.
        rows: what was measured of the path so far, by name of place.
        record: one entry per tick.
        next_knot: the identifier of the next knot.
        dropped: knots dropped as redundant.
        legs: how the walk of each leg ended, by the leg's name.
        rate: the learning rate, None for a method that needs none.
        moved: what the path ends at in place of B, None while it ends at B.
        cut: where the budget ended the first stretch that it ended, None while it has not.
        loader: where the training batches stand, of a loader that keeps that (see `llpf_plugin.tasks.position`).
    """

    chain: list[int] = field(default_factory=lambda: [0, 1])
    todo: list[Stretch] = field(default_factory=lambda: [Stretch(0, 1)])
    labels: dict[str, Knot] = field(default_factory=lambda: {"0": Knot("start"), "1": Knot("end")})
    fresh: Fresh = field(default_factory=Fresh)
    state: dict[str, Any] | None = None
    ended: str | None = None
    outcome: str | None = None
    round: int = 0
    before: list[int] = field(default_factory=list)
    highest: float = 0.0
    repaired: int = 0
    undone: int = 0
    steps: int = 0
    begun: int = 0
    spent: dict[str, Spent] = field(default_factory=dict)
    ends: Ends | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    record: list[Tick] = field(default_factory=list)
    next_knot: int = 2
    dropped: int = 0
    legs: dict[str, LegCost] = field(default_factory=dict)
    rate: Rate | None = None
    moved: EquivalentEnd | None = None
    cut: Cut | None = None
    loader: Any = None

    def to_json(self) -> dict[str, Any]:
        """The progress as a mapping of JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Progress":
        """Inverse of `to_json`.

        Raises:
            TypeError: the values are not a search's progress.
        """
        needed = [one.name for one in fields(cls) if one.name not in ("moved", "cut", "loader")]  # new ones
        if missing := [name for name in needed if isinstance(values, Mapping) and name not in values]:
            raise TypeError(f"Progress: {missing[0]} is missing")
        return validated(cls, values)

    def check(self) -> None:
        """Refuse knots that are named and not described, or that are there twice, and outcomes that no search has.

        Raises:
            TypeError: names the first of them.
        """
        named = [
            *self.chain,
            *self.before,
            *self.fresh.knots,
            *([] if self.fresh.start is None else [self.fresh.start]),
        ]
        reached = [knot for stretch in self.todo for knot in (stretch.start, stretch.end)]  # A′ and B′ may be to come
        odd = [knot for knot in named if str(knot) not in self.labels and knot not in reached]
        if odd or len(set(self.chain)) < max(2, len(self.chain)) or any(knot < 0 for knot in (*named, *reached)):
            raise TypeError(f"Progress: the knots {quoted(odd or self.chain)} are not those of a path")
        if not all(knot.isdecimal() and int(knot) < self.next_knot for knot in self.labels):
            raise TypeError(f"Progress: labels: the next knot is {self.next_knot}, and these are there already")
        outcomes = [self.ended, self.outcome, *(leg.outcome for leg in self.legs.values())]
        if unknown := [name for name in outcomes if name is not None and name not in Outcome.__members__]:
            raise TypeError(f"Progress: no search ends in {quoted(unknown[0], 40)}")


class Searching(Protocol):
    """A running search, as callbacks see it.

    Attributes:
        workspace: the model, and the counter of gradient steps.
        progress: all that changes.
        goal: what the path is to stay under.
        stop: set it, and the search stops after its tick.
        rows: the measured places of the path, in order, once the search is over.
    """

    workspace: Workspace
    progress: Progress
    goal: Goal
    stop: bool
    rows: Sequence[Row]

    def path(self) -> Path:
        """The path as it stands."""

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that a resumed search needs: JSON values, and the tensors of the solver."""


class Callback:
    """What a caller may hang into the loop; every method may be left out."""

    def on_start(self, search: Searching) -> None:
        """The ends have been measured and the goal is known."""

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """A tick is done."""

    def on_measure(self, search: Searching, done: int, total: int) -> None:
        """So many segments of the path have been measured."""

    def on_end(self, search: Searching) -> None:
        """The search is over."""
