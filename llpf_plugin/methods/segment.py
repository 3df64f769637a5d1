"""The straight line: what averaging two networks walks on; and the path of its points after REPAIR."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from llpf_plugin.evaluation.activations import repair_activations
from llpf_plugin.evaluation.correctable import NORMALIZED, OUTPUT, correctable
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates, lerp
from llpf_plugin.methods.base import Plan, Problem, Step, TrainState
from llpf_plugin.methods.baselines import Linear
from llpf_plugin.preflight.checks import Finding, finding
from llpf_plugin.preflight.probe import probing
from llpf_plugin.records import Outcome
from llpf_plugin.workspace import Workspace

PIECES = 10
"""Segments of a line whose points are corrected; the correction changes smoothly between them."""


def plan(method: Linear, problem: Problem) -> Plan:
    """One stretch with nothing to search."""
    if method.repair:
        problem.workspace.check_whole("REPAIR")
    solver = RepairedSegment if method.repair else Segment
    return Plan(lambda stretch: solver(problem.workspace))


def findings(method: Linear, workspace: Workspace) -> Sequence[Finding]:
    """What REPAIR leaves alone, but for the output and what BatchNorm follows; and that it may have nothing to do."""
    if not method.repair or workspace.compute.shard:
        return ()
    with probing(workspace):
        layers, left = correctable(workspace, coordinates(workspace.model))
    if not layers:
        remedy = "Every layer gives the output, or is followed by BatchNorm, or cannot be corrected: leave repair out."
        return [Finding("warning", "REPAIR corrects no layer of this network", f"{len(left)} are left alone", remedy)]
    where = [f"{layer} ({why})" for layer, why in left.items() if why not in (OUTPUT, NORMALIZED)]
    return finding("warning", "REPAIR leaves layers alone", where, "They are averaged as without it.")


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


class RepairedSegment(Segment):
    """A solver that is done at once, with points of the line whose activations are corrected.

    The points change continuously from A to B, which REPAIR leaves as they are.
    """

    def step(self, state: Any) -> Step:
        """Nothing, and no gradient step."""
        return Step(state, outcome=Outcome.REPAIRED)

    def closing(self) -> list[Weights]:
        """Corrected points, evenly spaced on the line."""
        return [self._at(i / PIECES) for i in range(1, PIECES)]

    def _at(self, t: float) -> Weights:
        with self.workspace.clock.on("measuring"):
            found = repair_activations(self.workspace, self.start, self.end, lerp(self.start, self.end, t), t)
        return clone(found.weights, "cpu")
