"""The straight line: what averaging two networks walks on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from llpf_plugin.geometry.weights import Weights, assign, clone
from llpf_plugin.methods.base import Leg, Outcome, Step
from llpf_plugin.methods.trained import TrainState


@dataclass(frozen=True)
class Linear:
    """The segment from start to end, as a finder that has nothing to do."""

    kind: ClassVar[str] = "curve"

    def init(self, leg: Leg) -> tuple[Leg, TrainState]:
        """Place the model at the start; it is over at once."""
        assign(leg.gradient.model, leg.start)
        return leg, TrainState(outcome=Outcome.STRAIGHT.name)

    def step(self, work: Leg, state: TrainState) -> Step:
        """Nothing, and no gradient step."""
        words = {"phase": "linear", "tick": 0, "gap": 0.0, "first_loss": 0.0, "settled_loss": 0.0, "steps": 0}
        return Step(state, knot=False, report={**words, "kept": True, "low": False})

    def knot(self, work: Leg) -> Weights:
        """The start."""
        return clone(work.start, "cpu")

    def closing(self, work: Leg, state: TrainState) -> list[Weights]:
        """The end."""
        return [work.end]

    def save(self, work: Leg) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load(self, work: Leg, tensors: Mapping[str, Tensor]) -> None:
        """Nothing."""

    def state_from(self, values: Mapping[str, Any]) -> TrainState:
        """Inverse of ``dataclasses.asdict``."""
        return TrainState(**values)
