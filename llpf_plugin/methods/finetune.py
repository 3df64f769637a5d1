"""A trained on for the same budget: what one does instead of merging."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates
from llpf_plugin.methods.base import Leg, Step
from llpf_plugin.methods.trained import TrainState, allowed, cooled, load_optimizer, optimizer_tensors, report
from llpf_plugin.workspace import Gradient

KNOTS = 10
"""Knots that training leaves behind."""


@dataclass
class Tuning:
    """The workspace: the model itself, its optimizer, and the end that it never goes to."""

    gradient: Gradient
    optimizer: torch.optim.SGD
    end: Weights


@dataclass(frozen=True)
class Finetune:
    """SGD from the start, wherever that leads; the path then jumps to the end.

    Attributes:
        steps: gradient steps.
        lr: the learning rate, cooled as `cooled` says.
        momentum: Nesterov momentum.
    """

    steps: int
    lr: float = 0.05
    momentum: float = 0.9
    kind: ClassVar[str] = "closing"

    def init(self, leg: Leg) -> tuple[Tuning, TrainState]:
        """Place the model at the start."""
        assign(leg.gradient.model, leg.start)
        parameters = leg.gradient.model.parameters()
        optimizer = torch.optim.SGD(parameters, self.lr, self.momentum, nesterov=self.momentum > 0)
        return Tuning(leg.gradient, optimizer, leg.end), TrainState.begin(self.steps)

    def step(self, work: Tuning, state: TrainState) -> Step:
        """Some gradient steps; a knot after every tenth of them all."""
        gradient, losses = work.gradient, []
        for i in range(allowed(gradient, self.steps - state.steps)):
            work.optimizer.param_groups[0]["lr"] = cooled(self.lr, (state.steps + i) / self.steps)
            loss = gradient.loss()
            losses.append(loss.detach())
            gradient.backward(loss)
            work.optimizer.step()
        words = report("finetune", state, self.steps, losses, cooled(self.lr, state.steps / max(1, self.steps)))
        after = state.after(len(losses), words["settled_loss"], self.steps)
        passed = after.steps * KNOTS // max(1, self.steps) > state.steps * KNOTS // max(1, self.steps)
        return Step(after, knot=passed, report=words)

    def knot(self, work: Tuning) -> Weights:
        """The model's weights."""
        return clone(coordinates(work.gradient.model), "cpu")

    def closing(self, work: Tuning, state: TrainState) -> list[Weights]:
        """The end, which training knows nothing of."""
        return [work.end]

    def save(self, work: Tuning) -> dict[str, Tensor]:
        """The weights and the optimizer's momentum."""
        weights = {f"weights.{k}": t for k, t in coordinates(work.gradient.model).items()}
        return {**weights, **optimizer_tensors(work.optimizer)}

    def load(self, work: Tuning, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        part = "weights."
        assign(work.gradient.model, {k.removeprefix(part): t for k, t in tensors.items() if k.startswith(part)})
        load_optimizer(work.optimizer, tensors)

    def state_from(self, values: Mapping[str, Any]) -> TrainState:
        """Inverse of ``dataclasses.asdict``."""
        return TrainState(**values)
