"""What a finder is: ``init`` and ``step`` on a state that is a small value; big buffers live in a workspace."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from llpf_plugin.geometry.weights import Weights
from llpf_plugin.workspace import Gradient


class Outcome(enum.Enum):
    """How a search ended, with a sentence for the user."""

    ARRIVED = "the walk arrived at its destination"
    SHORT = "the walk went through all of its phases and ended short of its destination"
    BUDGET = "the budget of gradient steps was spent before the walk arrived"
    COLLAPSED = "the pace collapsed: no move, however small, stayed under the barrier"
    EDGE = "the walk towards the origin ended at the last knot whose loss could be held, short of where it was to go"
    DIVERGED = "the loss stopped being a number, also with the smallest moves"
    STRAIGHT = "the straight line; nothing was trained"
    TRAINED = "the path was trained for all of its gradient steps"
    LOW = "the path came under the goal while it was trained"


@dataclass(frozen=True)
class Leg:
    """One stretch to be walked: from ``start`` to ``end``, on the model of ``gradient``.

    Attributes:
        gradient: the counted gradient; its model is the workspace.
        start: coordinates of the first knot.
        end: coordinates of the last knot.
        via: knots between the two, which a method that refines a path begins from.
    """

    gradient: Gradient
    start: Weights
    end: Weights
    via: Sequence[Weights] = ()


@dataclass(frozen=True)
class Step:
    """What one step of a finder came to.

    Attributes:
        state: the next state.
        knot: whether the model now stands on a new knot of the path.
        report: numbers and words for the record (JSON values).
    """

    state: Any
    knot: bool
    report: Mapping[str, Any]


class Finder(Protocol):
    """A method. Its own attributes are settings and never change.

    Attributes:
        kind: what the knots of ``closing`` are labelled as: ``closing`` where they only follow a walk, ``curve`` where
            they are points of a path that was trained as a whole.
    """

    kind: ClassVar[str]

    def init(self, leg: Leg) -> tuple[Any, Any]:
        """Place the model at the leg's start; the workspace and the first state."""

    def step(self, work: Any, state: Any) -> Step:
        """One step. The state is a frozen dataclass of JSON values with an ``outcome`` (None while it goes on)."""

    def knot(self, work: Any) -> Weights:
        """A copy, on the CPU, of the point that the search stands on."""

    def closing(self, work: Any, state: Any) -> list[Weights]:
        """The knots that follow the last settled one; the last is exactly the leg's end."""

    def save(self, work: Any) -> dict[str, Tensor]:
        """Every tensor that, with the state, makes a resumed search go on bit by bit the same."""

    def load(self, work: Any, tensors: Mapping[str, Tensor]) -> None:
        """Put the workspace back to where ``save`` was called."""

    def state_from(self, values: Mapping[str, Any]) -> Any:
        """A state from its ``dataclasses.asdict``, JSON in between."""
