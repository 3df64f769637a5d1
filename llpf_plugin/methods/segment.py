"""The straight line: what averaging two networks walks on."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from llpf_plugin.geometry.weights import Weights, assign, clone
from llpf_plugin.methods.base import Plan, Problem, Step, TrainState
from llpf_plugin.methods.baselines import Linear
from llpf_plugin.records import Outcome
from llpf_plugin.workspace import Workspace


def plan(method: Linear, problem: Problem) -> Plan:
    """One stretch with nothing to do."""
    return Plan(lambda stretch: Segment(problem.workspace))


class Segment:
    """A solver that is done at once."""

    closes_with: ClassVar[str] = "curve"

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def init(self, start: Weights, end: Weights) -> TrainState:
        """Place the model at the start."""
        assign(self.workspace.model, start)
        self.start, self.end = start, end
        return TrainState()

    def step(self, state: Any) -> Step:
        """Nothing, and no gradient step."""
        return Step(state, outcome=Outcome.STRAIGHT)

    def knot(self) -> Weights:
        """The start."""
        return clone(self.start, "cpu")

    def closing(self) -> list[Weights]:
        """Nothing."""
        return []

    def save(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing."""
