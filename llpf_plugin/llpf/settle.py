"""Settling, the paper's "train": a few SGD steps until the rolling loss is low."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llpf_plugin.workspace import Gradient


@dataclass(frozen=True)
class SettleRule:
    """When settling ends.

    Attributes:
        threshold: the rolling mean of the mini-batch losses to reach.
        min_steps: steps taken in any case; also the longest window of the rolling mean.
        max_steps: the limit; settling that reaches it has not settled. With 0 a mini-batch's loss is looked at and no
            step is taken.
        window: mini-batches in the rolling mean (the paper: 10), never more than ``min_steps``.
        lr: the learning rate.
        momentum: Nesterov momentum; the paper uses none. No weight decay: the sphere keeps the variance.
    """

    threshold: float
    min_steps: int = 2
    max_steps: int = 60
    window: int = 10
    lr: float = 0.05
    momentum: float = 0.0


RUNAWAY = 2.0
"""Settling has run away when its rolling loss is over the barrier, and over this many times its first loss."""


@dataclass(frozen=True)
class Settled:
    """What settling came to.

    Attributes:
        steps: gradient steps taken, a rejected first batch included.
        first: the first mini-batch's loss, before any step; NaN if there was none.
        mean: the rolling mean at the end.
        over_barrier: the first loss was over the barrier and no step was taken.
        low: the rolling mean reached the threshold.
        runaway: the loss grew instead, or stopped being a number: the learning rate is too high here.
    """

    steps: int
    first: float
    mean: float
    over_barrier: bool = False
    low: bool = False
    runaway: bool = False

    @property
    def stood(self) -> bool:
        """Whether the point that was reached is worth keeping."""
        return not (self.over_barrier or self.runaway) and math.isfinite(self.mean)


def settle(
    gradient: Gradient,
    optimizer: torch.optim.Optimizer,
    rule: SettleRule,
    barrier: float = math.inf,
    rest: bool = False,
) -> Settled:
    """Train all parameters of ``gradient.model`` in place until the rule is met or its budget is spent.

    Mini-batch losses stay on the device and are read there every few steps only.

    Args:
        gradient: the counted gradient.
        optimizer: steps on the model's parameters.
        rule: when to stop.
        barrier: give up before the first step if the first loss is over this, or not a number.
        rest: settle even so; the barrier then only tells a settling that runs away.
    """
    if rule.max_steps == 0 and gradient.remaining != 0:
        seen = float(gradient.loss().detach())
        return Settled(1, seen, seen)
    limit = rule.max_steps if gradient.remaining is None else min(rule.max_steps, gradient.remaining)
    window = max(1, min(rule.window, rule.min_steps))
    losses: list[Tensor] = []
    first = mean = math.nan
    while len(losses) < limit:
        loss = gradient.loss()
        losses.append(loss.detach())
        if len(losses) == 1 and barrier < math.inf:
            first = float(losses[0])
            if not first <= barrier and not rest:
                return Settled(1, first, first, over_barrier=True)
        gradient.backward(loss)
        optimizer.step()
        if len(losses) >= rule.min_steps and _look(gradient, len(losses) - rule.min_steps, limit - len(losses)):
            first, mean = float(losses[0]), _mean(losses[-window:])
            if not rule.threshold < mean <= max(barrier, RUNAWAY * first):
                break
    if losses and not len(losses) >= rule.min_steps:  # the budget cut it short
        first, mean = float(losses[0]), _mean(losses[-window:])
    low = mean <= rule.threshold
    return Settled(
        len(losses), first, mean, low=low, runaway=bool(losses) and not mean <= max(barrier, RUNAWAY * first)
    )


def _look(gradient: Gradient, past: int, left: int) -> bool:
    """Whether to read the losses now: always on a CPU, on other devices every fifth step and at the ends."""
    return gradient.device.type == "cpu" or past % 5 == 0 or left == 0


def _mean(losses: Sequence[Tensor]) -> float:
    return float(torch.stack(list(losses)).float().mean())
