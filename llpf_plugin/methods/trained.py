"""What the methods that train for a given number of gradient steps share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llpf_plugin.methods.base import Outcome
from llpf_plugin.workspace import Gradient

TICK = 10
"""Gradient steps between two entries of the record; a run can be stopped and resumed there."""


@dataclass(frozen=True)
class TrainState:
    """Where such a method stands, besides its tensors.

    Attributes:
        steps: gradient steps done.
        outcome: name of the `Outcome`, None while it goes on.
    """

    steps: int = 0
    outcome: str | None = None

    @classmethod
    def begin(cls, steps: int) -> "TrainState":
        """The first state of a method that trains for so many steps."""
        return cls().after(0, 0.0, steps)

    def after(self, done: int, loss: float, steps: int, low: bool = False) -> "TrainState":
        """The state after ``done`` more steps whose mean loss was ``loss``, of ``steps`` in all."""
        total = self.steps + done
        if not math.isfinite(loss):
            return TrainState(total, Outcome.DIVERGED.name)
        if low:
            return TrainState(total, Outcome.LOW.name)
        return TrainState(total, Outcome.TRAINED.name if total >= steps else None)


def cooled(lr: float, done: float) -> float:
    """The learning rate after a share ``done`` of the steps: flat to 50 %, then linear to 1 % at 90 %.

    That of Garipov et al. (2018), section A.1 and their code.
    """
    return lr * min(1.0, max(0.01, 1 - (done - 0.5) / 0.4 * 0.99))


def allowed(gradient: Gradient, left: int) -> int:
    """Gradient steps that one tick may take: `TICK`, what is left of the method's own, and of the budget."""
    most = min(TICK, left)
    return most if gradient.remaining is None else min(most, gradient.remaining)


def report(name: str, state: TrainState, steps: int, losses: Sequence[Tensor], lr: float) -> dict[str, Any]:
    """The record of one tick, in the words of a walk's; ``gap`` is the number of steps that are left."""
    values = torch.stack([loss.float() for loss in losses]).tolist()
    return {
        "phase": name, "tick": state.steps, "gap": float(steps - state.steps - len(losses)), "lr": lr,
        "first_loss": values[0], "settled_loss": sum(values) / len(values), "steps": len(losses), "kept": True,
        "low": False,
    }  # fmt: skip


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of an optimizer's state, by the parameter's number and the state's name."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"optimizer.{i}.{key}": value
        for i, p in enumerate(parameters)
        for key, value in optimizer.state.get(p, {}).items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.state.clear()
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part == "optimizer":
            number, _, key = rest.partition(".")
            p = parameters[int(number)]
            # Adam counts its steps on the CPU.
            optimizer.state[p][key] = tensor.to(tensor.device if tensor.dim() == 0 else p.device, copy=True)
