"""What a search, a path and a run's folder hold, as typed values: knots, ticks, costs, measured points.

Records are read from files that other versions wrote: names that this version does not know are left out, and what is
missing has its default. A record can also be read like the mapping that it is in the file: ``row["train"]``.
"""

import enum
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

from llpf_plugin.documents import validated

__all__ = [
    "DOWN",
    "JOIN",
    "ORIGIN",
    "UP",
    "Cost",
    "Knot",
    "LegCost",
    "Outcome",
    "Rate",
    "Record",
    "Row",
    "Spent",
    "Tick",
    "leg_of",
]

DOWN, JOIN, UP = "A → A′", "A′ → B′", "B′ → B"
"""Names of the legs of a path across variance spheres, in its order."""

ORIGIN = "A → origin"
"""The name of the only leg of a walk to the origin."""


class Record:
    """Base class of dataclasses that are written to JSON and read back."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:  # type: ignore[attr-defined]
            raise KeyError(name)
        return getattr(self, name)

    def to_json(self) -> dict[str, Any]:
        """The record as a mapping of JSON values."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; unknown names are left out.

        Raises:
            TypeError: ``values`` is not a mapping, lacks a name that has no default, or a value is of another type.
        """
        return validated(cls, values)


class Outcome(enum.Enum):
    """How a search ended, with a sentence for the user."""

    ARRIVED = "the walk arrived at its destination"
    SHORT = "the walk went through all of its phases and ended short of its destination"
    STALLED = "the walk stalled with all layers at once; the rest of the way was left to training"
    BUDGET = "the budget of gradient steps was spent before the walk arrived"
    COLLAPSED = "the walk collapsed: no move, however small, was accepted"
    EDGE = "the walk towards the origin ended at the last knot whose loss could be held, short of its target"
    DIVERGED = "the loss stopped being a number, even with the smallest moves"
    STRAIGHT = "the straight line; nothing was trained"
    REPAIRED = "the straight line with the activations between its ends corrected; nothing was trained"
    TRAINED = "the path was trained for all of its gradient steps"


@dataclass(frozen=True)
class Knot(Record):
    """Where a knot of a path comes from.

    Attributes:
        kind: ``start`` and ``end``; ``settled``, a knot that a walk settled on; ``closing``, a knot between the last
            settled one and the end; ``curve``, a point of a path that was trained as a whole; ``reversed``, a knot of
            a leg that was walked backwards, from B.
        phase: the phase that it was walked in.
        tick: the tick of that phase.
        low: whether settling reached its threshold there.
        leg: its leg, on a path across variance spheres.
    """

    kind: str
    phase: str | None = None
    tick: int | None = None
    low: bool | None = None
    leg: str = ""


def leg_of(before: Knot, after: Knot) -> str:
    """The leg of the segment between two neighbouring knots; empty where the path has one leg."""
    if after.leg in (DOWN, ORIGIN):
        return after.leg
    if before.leg == UP:
        return UP
    return JOIN if before.leg or after.leg else ""


@dataclass(frozen=True)
class Tick(Record):
    """One tick of a search.

    Attributes:
        phase: name of the phase.
        tick: its number within the phase; of a method that trains, the gradient steps before it.
        gap: the distance that was left before it; of a method that trains, the gradient steps.
        first_loss: the first mini-batch's loss after the move.
        settled_loss: the rolling mean of the mini-batch losses at the end.
        steps: gradient steps taken.
        kept: whether the move was accepted.
        low: whether settling reached its threshold.
        share: the share of the distance that was moved.
        lr: the learning rate.
        sweep: how often the phases had been gone through before.
        pivots: of AutoNEB's chain.
        scaled: layers that were put on their spheres at no cost.
        stretch: the round of repairs, 0 for the walk itself.
        leg: the leg of a path across variance spheres.
        gradient_steps: of the whole search so far.
    """

    phase: str
    tick: int
    gap: float
    first_loss: float
    settled_loss: float
    steps: int
    kept: bool = True
    low: bool = False
    share: float | None = None
    lr: float = 0.0
    sweep: int = 0
    pivots: int | None = None
    scaled: tuple[str, ...] = ()
    stretch: int = 0
    leg: str = ""
    gradient_steps: int = 0

    _LOSSES: ClassVar = ("first_loss", "settled_loss")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; a loss that was no number is null in files of the first edition."""
        if isinstance(values, Mapping):
            values = {**values, **{k: math.inf for k in cls._LOSSES if k in values and values[k] is None}}
        return super().from_json(values)


@dataclass(frozen=True)
class LegCost(Record):
    """How the walk of one leg ended: the name of its outcome, and its gradient steps."""

    outcome: str
    steps: int


@dataclass(frozen=True)
class Rate(Record):
    """The learning rate of a search.

    Attributes:
        value: that of the first steps, before they are cooled.
        source: ``given`` by the user; ``found`` on the line between the models; or the ``task``'s, where that line is
            nowhere high.
        steps: gradient steps that it took to find.
        falls: how often it was made smaller after a collapse.
    """

    value: float
    source: str = "given"
    steps: int = 0
    falls: int = 0

    @property
    def words(self) -> str:
        """The rate with where it comes from, for the user."""
        source = {
            "found": f"found in {self.steps} gradient steps",
            "task": "the task's, since the straight line is nowhere high or the budget too small for a look",
        }.get(self.source, self.source)
        fell = f", lowered after a collapse ({self.falls} times)" if self.falls else ""
        return f"{self.value:.3g} ({source}{fell})"


@dataclass(frozen=True)
class Spent(Record):
    """What one kind of work took: seconds, and forward passes, counted in examples."""

    seconds: float = 0.0
    forward_passes: int = 0


@dataclass(frozen=True)
class Cost(Record):
    """What a path cost.

    Attributes:
        gradient_steps: all of them, repairs included.
        seconds: of the search, all kinds of work together.
        spent: the same by kind: ``walking``, ``measuring`` and ``other``.
        dropped: knots that were found redundant.
        repairs: rounds of repair.
        goal: the training loss that the path was to stay under.
        peak_memory: bytes at most: allocated on a CUDA device, else of the process.
        legs: by name, on a path across variance spheres.
        rate: the learning rate, None for methods that need none and in files of earlier versions.
    """

    gradient_steps: int | None = None
    seconds: float | None = None
    dropped: int = 0
    repairs: int = 0
    goal: float | None = None
    peak_memory: int | None = None
    legs: Mapping[str, LegCost] = field(default_factory=dict)
    spent: Mapping[str, Spent] = field(default_factory=dict)
    rate: Rate | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; what the first edition did not have may be null."""
        if isinstance(values, Mapping):
            values = {k: v for k, v in values.items() if v is not None}
        return super().from_json(values)


@dataclass(frozen=True)
class Row(Record):
    """One measured point of a path; None where it was not measured or the task has no such data.

    Attributes:
        train, validation, test: mean loss of the split.
        train_accuracy, validation_accuracy, test_accuracy: share of correct answers, in [0, 1].
        u: its place in its segment, in [0, 1].
        t: its arc-length position on the path, in [0, 1].
        segment: index of its segment.
        sample: training examples that it was measured on, None for all that the path is judged by.
        parts: training loss on equal parts of samples, by their size as text, while the path is being measured.
    """

    train: float | None = None
    train_accuracy: float | None = None
    validation: float | None = None
    validation_accuracy: float | None = None
    test: float | None = None
    test_accuracy: float | None = None
    u: float = 0.0
    t: float = 0.0
    segment: int = 0
    sample: int | None = None
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
