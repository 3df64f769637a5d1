"""Methods of your own: frozen dataclasses whose fields are their settings, which ``--method`` names.

    python examples/train_pair.py digits/mlp --seeds 0 1 -o pair
    llpf merge pair/seed0.pt pair/seed1.pt --task digits/mlp --method examples/own_method.py:Chain
    llpf merge pair/seed0.pt pair/seed1.pt --task digits/mlp --method examples/own_method.py:Midpoint -m steps=300

In Python: ``find_path(a, b, task, Chain(steps=600))``. `Chain` is a curve that only says where its points lie;
`Midpoint` brings a solver of its own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from llpf_plugin.geometry import Weights, assign, clone, coordinates, lerp
from llpf_plugin.methods import Curve, Method, Outcome, Plan, Problem, Step, setting
from llpf_plugin.records import Tick


@dataclass(frozen=True)
class Chain(Curve):
    """A polygonal chain with one bend: the straight line from A to a trained point, and the one from there to B."""

    name: ClassVar[str] = "chain"
    source: ClassVar[str] = "Garipov et al., 2018, arXiv 1802.10026"
    steps: int | None = setting(600, "gradient steps", within="[1, inf)")

    def basis(self, t: float) -> tuple[float, float, float]:
        """The weights of A, of the trained point and of B in the chain's point at ``t`` in [0, 1]."""
        return (1 - 2 * t, 2 * t, 0.0) if t <= 0.5 else (0.0, 2 - 2 * t, 2 * t - 1)


@dataclass(frozen=True)
class Midpoint(Method):
    """The average of A and B, trained on by SGD, with a straight line to each."""

    name: ClassVar[str] = "midpoint"
    source: ClassVar[str] = "this example"
    steps: int = setting(300, "gradient steps", within="[1, inf)")

    def bind(self, problem: Problem) -> Plan:
        """One stretch, from A to B."""
        return Plan(lambda stretch: TrainedMidpoint(problem, self.steps))


@dataclass(frozen=True)
class Taken:
    """The state of `TrainedMidpoint`: gradient steps so far."""

    steps: int = 0


class TrainedMidpoint:
    """The solver of `Midpoint`; its point is the model itself, and the only knot between A and B."""

    closes_with: ClassVar[str] = "curve"

    def __init__(self, problem: Problem, steps: int) -> None:
        self.workspace, self.lr, self.steps = problem.workspace, problem.lr, steps

    def init(self, start: Weights, end: Weights) -> Taken:
        """Place the model in the middle of the straight line."""
        assign(self.workspace.model, lerp(start, end, 0.5))
        self.optimizer = torch.optim.SGD(self.workspace.model.parameters(), self.lr)
        return Taken()

    def step(self, state: Taken) -> Step:
        """One gradient step."""
        loss = self.workspace.loss()
        self.workspace.backward(loss)
        self.optimizer.step()
        seen, after = float(loss.detach()), Taken(state.steps + 1)
        left = self.steps - after.steps
        tick = Tick("midpoint", state.steps, gap=left, first_loss=seen, settled_loss=seen, steps=1, lr=self.lr)
        outcome = Outcome.DIVERGED if not math.isfinite(seen) else None if left else Outcome.TRAINED
        return Step(after, tick=tick, outcome=outcome)

    def knot(self) -> Weights:
        """The model's coordinates."""
        return clone(coordinates(self.workspace.model), "cpu")

    def closing(self) -> list[Weights]:
        """The knots that the search leaves behind."""
        return [self.knot()]

    def save(self) -> dict[str, Tensor]:
        """All tensors that a resumed search needs: SGD without momentum has none of its own."""
        return coordinates(self.workspace.model)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        assign(self.workspace.model, tensors)
