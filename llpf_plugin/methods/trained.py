"""What the methods that train for a given number of gradient steps share."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from llpf_plugin.geometry.placement import placed, portable
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates
from llpf_plugin.records import Outcome, Tick
from llpf_plugin.workspace import Workspace

TICK = 10
"""Gradient steps between two entries of the record; a run can be stopped and resumed there."""


def outcome_of(done: int, loss: float, steps: int) -> Outcome | None:
    """How training stands after ``done`` steps of ``steps``, the last ones with this mean loss."""
    if not math.isfinite(loss):
        return Outcome.DIVERGED
    return Outcome.TRAINED if done >= steps else None


def cooled(lr: float, done: float) -> float:
    """The learning rate after a share ``done`` of the steps: flat to 50 %, then linear to 1 % at 90 %.

    That of Garipov et al. (2018), section A.1 and their code.
    """
    return lr * min(1.0, max(0.01, 1 - (done - 0.5) / 0.4 * 0.99))


def allowed(workspace: Workspace, left: int) -> int:
    """Gradient steps that one tick may take: `TICK`, what is left of the method's own, and of the budget."""
    most = min(TICK, left)
    return most if workspace.remaining is None else min(most, workspace.remaining)


def tick_of(
    phase: str, before: int, steps: int, losses: Sequence[Tensor], lr: float, pivots: int | None = None
) -> Tick:
    """The record of some gradient steps, in the words of a walk's; ``gap`` is the number of steps that are left."""
    values = torch.stack([loss.float() for loss in losses]).tolist()
    left = float(steps - before - len(values))
    return Tick(phase, before, left, values[0], sum(values) / len(values), len(values), lr=lr, pivots=pivots)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of an optimizer's state, by the parameter's number and the state's name."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"optimizer.{i}.{key}": portable(value)
        for i, p in enumerate(parameters)
        for key, value in optimizer.state.get(p, {}).items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`; names of other tensors are left alone."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.state.clear()
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part == "optimizer":
            number, _, key = rest.partition(".")
            p = parameters[int(number)]
            if tensor.dim() and tensor.shape != p.shape:
                raise ValueError(f"{name} is {tuple(tensor.shape)}, its parameter {tuple(p.shape)}")
            optimizer.state[p][key] = placed(tensor, p) if tensor.dim() else tensor.to(p.device, copy=True)


class OnModel:
    """What solvers share that change the model's own weights: the point that the search stands on, and how it is kept.

    Attributes:
        workspace: whose model.
        optimizer: of its parameters.
    """

    closes_with: ClassVar[str] = "closing"
    workspace: Workspace
    optimizer: torch.optim.Optimizer

    def knot(self) -> Weights:
        """A copy of the model's coordinates on the CPU."""
        return clone(coordinates(self.workspace.model), "cpu")

    def save(self) -> dict[str, Tensor]:
        """The coordinates and the optimizer's tensors."""
        weights = {f"weights.{k}": portable(t) for k, t in coordinates(self.workspace.model).items()}
        return {**weights, **optimizer_tensors(self.optimizer)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        own = coordinates(self.workspace.model)
        assign(self.workspace.model, {k: tensors[f"weights.{k}"] for k in own})
        load_optimizer(self.optimizer, tensors)
