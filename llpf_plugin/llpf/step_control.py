"""Step control: the share of the way that a tick moves, and the factor on the learning rate.

The first tick moves ``share``; below ``min_share`` the walk settles on the spot. At the part ``hand_over`` of its way,
or with a share below ``gives_way``, a phase makes room for the next, or ends the walk if it is the last.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from llpf_plugin.geometry.moves import Moves, StepRule
from llpf_plugin.llpf.settling import Settled


@dataclass(frozen=True)
class Scheduled:
    """The paper's tables: a given number of ticks, each vector by its own step rule; nothing finite is rejected."""

    ticks: int
    rule: StepRule
    moves: Moves = "tensors"
    share = min_share = 1.0
    min_lr = hand_over = gives_way = 0.0
    reject_above = math.inf

    def fractions(self, gaps: Tensor, start_gaps: Tensor | None, share: float) -> Tensor:
        """By the step rule."""
        return self.rule.fractions(gaps, gaps if start_gaps is None else start_gaps) * share

    def after(self, share: float, lr: float, settled: Settled, strayed: bool, gained: bool) -> tuple[float, float]:
        """As before, unless the loss is not a number."""
        return share if settled.accepted else share / 2, lr

    def anneal(self, gap: float, start: float) -> float:
        """As the schedule has it."""
        return 1.0

    def ends(self, ticks: int, arrived: bool) -> bool:
        """After its ticks."""
        return ticks >= self.ticks


@dataclass(frozen=True)
class Backtracking:
    """Ours: one share of the phase's distance for all active tensors, so that a constant one arrives in 1/share ticks.

    It grows by ``increase`` after an easy settling and shrinks after a ``long`` one (by its effort). The
    learning rate falls by ``lr_decay`` where the walk strays, and with the distance on the last ``anneal_below`` of it.
    """

    reject_above: float
    share: float = 0.05
    min_share: float = 0.002
    max_share: float = 0.5
    increase: float = 1.5
    long: float = 0.5
    lr_decay: float = 0.5
    lr_increase: float = 1.05
    min_lr: float = 1 / 64
    anneal_below: float = 0.3
    hand_over: float = 0.1
    gives_way: float = 0.0
    ticks: int | None = None
    moves = "tensors"

    def fractions(self, gaps: Tensor, start_gaps: Tensor | None, share: float) -> Tensor:
        """``min(1, share·gap₀/gap)``, taken over all tensors; without ``start_gaps``, the share of what is left."""
        if start_gaps is None:
            return torch.full_like(gaps, share)
        gap, start = torch.linalg.vector_norm(gaps), torch.linalg.vector_norm(start_gaps)
        return torch.where(gap > 0, share * start / gap, 1.0).clamp(max=1.0).expand(len(gaps))

    def after(self, share: float, lr: float, settled: Settled, strayed: bool, gained: bool) -> tuple[float, float]:
        """The next tick's share and factor on the learning rate, by whether the walk strayed or is closer than ever."""
        if not settled.accepted:
            share /= 2
        elif settled.easy:
            share = min(self.max_share, share * self.increase)
        elif settled.effort > self.long:
            share = max(self.min_share, share / self.increase)
        if strayed or settled.runaway:
            return share, max(self.min_lr, lr * self.lr_decay)
        return share, min(1.0, lr * self.lr_increase) if gained else lr

    def anneal(self, gap: float, start: float) -> float:
        """A factor on the learning rate: the noise of settling must not hide a destination that is near."""
        within = self.anneal_below * start
        return min(1.0, max(self.min_lr, gap / within)) if within > 0 else 1.0

    def ends(self, ticks: int, arrived: bool) -> bool:
        """When the destination is reached, or after so many ticks."""
        return arrived or (self.ticks is not None and ticks >= self.ticks)


StepControl = Scheduled | Backtracking
