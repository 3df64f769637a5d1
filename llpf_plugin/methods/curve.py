"""Curves between two fixed ends through one trained point, trained as a whole (Garipov et al., 2018).

On the sphere a point is first projected, as ``VarianceCorrection`` does, on the variance interpolated between the
ends', and the gradient flows through the projection.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.placement import copy_, placed, portable
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates, lerp
from llpf_plugin.methods.base import Plan, Problem, Step, TrainState
from llpf_plugin.methods.baselines import Curve
from llpf_plugin.methods.trained import (
    allowed,
    cooled,
    load_optimizer,
    optimizer_tensors,
    outcome_of,
    tick_of,
)
from llpf_plugin.tasks.data import generator

GOLDEN = 0.6180339887498949
"""The fractional part of the golden ratio: its multiples are spread evenly over [0, 1)."""


def plan(method: Curve, problem: Problem) -> Plan:
    """One stretch, trained as a whole."""
    return Plan(lambda stretch: CurveTraining(method, problem, problem.steps(method.steps)))


class CurveTraining:
    """SGD with momentum on the trained point, its learning rate cooled as `cooled` says.

    The rate is the task's own over the part that the trained point has in the curve at most, so that a step there is
    that part of one on a model: half of it on a Bezier curve.

    Args:
        curve: its shape and settings.
        problem: whose model is used at the curve's points; it stays at the start itself.
        steps: gradient steps.
    """

    closes_with: ClassVar[str] = "curve"

    def __init__(self, curve: Curve, problem: Problem, steps: int) -> None:
        self.curve, self.workspace, self.steps = curve, problem.workspace, steps
        self.phase = curve.name
        self.correct: sphere.Correct = "matrices" if curve.on_sphere else "none"
        most = max(curve.basis(i / 8)[1] for i in range(9))
        self.lr, self.momentum = problem.lr / most, problem.momentum

    def init(self, start: Weights, end: Weights) -> TrainState:
        """Place the trained point in the middle of the straight line."""
        assign(self.workspace.model, start)
        own = coordinates(self.workspace.model, start)
        self.start, self.end = ({k: placed(w[k], p) for k, p in own.items()} for w in (start, end))
        self.point = {k: t.requires_grad_() for k, t in lerp(self.start, self.end, 0.5).items()}
        held = [sphere.spheres(w, self.correct) for w in (self.start, self.end)]
        self.spheres = {k: (v, held[1][k]) for k, v in held[0].items() if k in held[1]}
        self.optimizer = torch.optim.SGD(self.point.values(), self.lr, self.momentum)
        return TrainState()

    def step(self, state: TrainState) -> Step:
        """Some gradient steps, each at its own place of the curve."""
        losses = []
        for i in range(allowed(self.workspace, self.steps - state.steps)):
            self.optimizer.param_groups[0]["lr"] = cooled(self.lr, (state.steps + i) / self.steps)
            loss = self.workspace.loss(self.at(self._place()))
            losses.append(loss.detach())
            self.workspace.backward(loss, self.point.values())
            self.optimizer.step()
        done = state.steps + len(losses)
        tick = tick_of(self.phase, state.steps, self.steps, losses, cooled(self.lr, state.steps / self.steps))
        return Step(TrainState(done), False, tick, outcome_of(done, tick.settled_loss, self.steps))

    def at(self, t: float) -> Weights:
        """The curve's point at ``t`` in [0, 1], with its graph."""
        parts = [(c, w) for c, w in zip(self.curve.basis(t), (self.start, self.point, self.end), strict=True) if c]
        weights = {k: torch.stack([c * w[k] for c, w in parts]).sum(0) for k in self.start}
        for k, (first, last) in self.spheres.items():
            weights[k] = sphere.project(weights[k], (1 - t) * first + t * last)
        return weights

    def _place(self) -> float:
        """Where the next gradient is taken, by the seed and the number of the step.

        Evenly spread on the sphere (a golden-ratio sequence); independent and uniform on the plain curve, as its source
        has it.
        """
        seed, steps = self.workspace.seed, self.workspace.steps
        if self.curve.on_sphere:
            first = torch.rand((), generator=generator("cpu", seed, "place"))
            return (float(first) + steps * GOLDEN) % 1.0
        return float(torch.rand((), generator=generator("cpu", seed, steps, "place")))

    def knot(self) -> Weights:
        """The start: no single point of a curve is the one that the search stands on."""
        return clone(self.start, "cpu")

    @torch.no_grad()
    def closing(self) -> list[Weights]:
        """Points of the curve, evenly spaced in t."""
        return [clone(self.at(i / self.curve.pieces), "cpu") for i in range(1, self.curve.pieces)]

    def save(self) -> dict[str, Tensor]:
        """The trained point and the optimizer's momentum."""
        return {
            **{f"point.{k}": portable(t.detach()) for k, t in self.point.items()},
            **optimizer_tensors(self.optimizer),
        }

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        for k, t in self.point.items():
            copy_(t, tensors[f"point.{k}"])
        load_optimizer(self.optimizer, tensors)
