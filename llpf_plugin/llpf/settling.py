"""Settling, the paper's "train": a few SGD steps until the rolling loss is low."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llpf_plugin.errors import LLPFError
from llpf_plugin.workspace import Workspace


@dataclass(frozen=True)
class SettleRule:
    """When settling ends.

    Attributes:
        threshold: the rolling mean of the mini-batch losses to reach.
        min_steps: steps taken in any case.
        max_steps: the limit; settling that reaches it has not settled.
        window: mini-batches in the rolling mean (the paper: 10), None for ``min_steps``.
        lr: the learning rate.
        momentum: Nesterov momentum; the paper uses none. No weight decay: the sphere keeps the variance.

    Raises:
        LLPFError: not 1 ≤ window ≤ min_steps ≤ max_steps; settling must not end before the window is full.
    """

    threshold: float
    min_steps: int = 2
    max_steps: int = 60
    window: int | None = None
    lr: float = 0.05
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_steps <= self.max_steps:
            told = f"min_steps = {self.min_steps} and max_steps = {self.max_steps}"
            raise LLPFError(f"{told}: it must be 1 ≤ min_steps ≤ max_steps")
        if self.window is not None and not 1 <= self.window <= self.min_steps:
            raise LLPFError(
                f"window = {self.window} and min_steps = {self.min_steps}: settling must not end before the window of "
                "the rolling loss is full; raise min_steps to the window, or shorten the window"
            )

    @property
    def rolling(self) -> int:
        """Mini-batches in the rolling mean."""
        return self.window or self.min_steps


RUNAWAY = 2.0
"""Settling has run away when its rolling loss would reject a move, and is this many times its first loss."""


@dataclass(frozen=True)
class Settled:
    """What settling came to.

    Attributes:
        steps: gradient steps taken, a rejected first batch included.
        first: the first mini-batch's loss, before any step; NaN if there was none.
        mean: the rolling mean at the end.
        rejected: the first loss was too high and no step was taken.
        low: the rolling mean reached the threshold, its window full.
        runaway: the loss grew instead, or stopped being a number: the learning rate is too high here.
        effort: steps over the most that were allowed.
        easy: it settled in the least steps that are taken in any case.
    """

    steps: int
    first: float
    mean: float
    rejected: bool = False
    low: bool = False
    runaway: bool = False
    effort: float = 0.0
    easy: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the point that was reached is worth keeping."""
        return not (self.rejected or self.runaway) and math.isfinite(self.mean)


def settle(
    workspace: Workspace,
    optimizer: torch.optim.Optimizer,
    rule: SettleRule,
    reject_above: float = math.inf,
    on_the_spot: bool = False,
) -> Settled:
    """Train all parameters of ``workspace.model`` in place until the rule is met or the budget is spent.

    Mini-batch losses stay on the device and are read there every few steps only.

    Args:
        workspace: whose model, batches and budget.
        optimizer: steps on the model's parameters.
        rule: when to stop.
        reject_above: give up before the first step if the first loss is above this, or not a number.
        on_the_spot: settle even so, since nothing was moved; ``reject_above`` then only tells a runaway.
    """
    limit = rule.max_steps if workspace.remaining is None else min(rule.max_steps, workspace.remaining)
    losses: list[Tensor] = []
    first = mean = math.nan
    while len(losses) < limit:
        loss = workspace.loss()
        losses.append(loss.detach())
        if len(losses) == 1 and reject_above < math.inf:
            first = float(losses[0])
            if not first <= reject_above and not on_the_spot:
                return Settled(1, first, first, rejected=True)
        workspace.backward(loss)
        optimizer.step()
        if len(losses) >= rule.min_steps and _look(workspace, len(losses) - rule.min_steps, limit - len(losses)):
            first = float(losses[0]) if math.isnan(first) else first
            mean = _mean(losses[-rule.rolling :])
            if not rule.threshold < mean <= max(reject_above, RUNAWAY * first):
                break
    whole = len(losses) >= rule.min_steps
    if losses and not whole:  # the budget cut it short
        first, mean = float(losses[0]), _mean(losses[-rule.rolling :])
    runaway = bool(losses) and not mean <= max(reject_above, RUNAWAY * first)
    low, steps = whole and mean <= rule.threshold, len(losses)
    return Settled(steps, first, mean, False, low, runaway, steps / rule.max_steps, low and steps <= rule.min_steps)


def _look(workspace: Workspace, past: int, left: int) -> bool:
    """Whether to read the losses now: always on a CPU, on other devices every fifth step and at the ends."""
    return workspace.device.type == "cpu" or past % 5 == 0 or left == 0


def _mean(losses: Sequence[Tensor]) -> float:
    return float(torch.stack(list(losses)).float().mean())
