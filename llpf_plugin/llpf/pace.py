"""Pace: how far a tick moves, and what it makes of how the last tick went."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.llpf.settle import Settled, SettleRule


@dataclass(frozen=True)
class FixedPace:
    """The paper's: a given number of ticks, each tensor by its own step rule (table 4).

    The share is 1 and only shrinks where the loss stops being a number.

    Attributes:
        ticks: ticks of the phase.
        rule: lengths of the moves.
        share: the first factor on every move.
        least: the smallest that is tried.
        barrier, coldest, enough: none; settling, and the phase's end, are what the schedule says.
    """

    ticks: int
    rule: StepRule
    share: float = 1.0
    least: float = 1 / 64
    coldest: float = 0.0
    enough: float = 0.0
    barrier: float = math.inf

    def fractions(self, gaps: Tensor, start_gaps: Tensor, share: float) -> Tensor:
        """The part of its way that each tensor moves in this tick."""
        return self.rule.fractions(gaps, start_gaps) * share

    def after(self, share: float, settled: Settled, rule: SettleRule) -> float:
        """The next tick's share."""
        return share if settled.stood else share / 2

    def tempered(self, lr: float, settled: Settled, strayed: bool, gained: bool) -> float:
        """The next tick's factor on the learning rate: the paper's stays as it is given."""
        return lr

    def calm(self, gap: float, start: float) -> float:
        """A further factor on the learning rate: none."""
        return 1.0

    def over(self, ticks: int, arrived: bool) -> bool:
        """Whether the phase ends after this many ticks."""
        return ticks >= self.ticks


@dataclass(frozen=True)
class AdaptivePace:
    """Ours: one share of the phase's distance a tick for all active tensors, grown and shrunk by how settling goes.

    Attributes:
        barrier: a first mini-batch loss over this undoes the move and halves the share.
        share: the first tick's share of the distance that the phase began with.
        least: the smallest share that is tried; below it the walk settles on the spot.
        most: the largest.
        grow: the factor by which a share grows after a settling of the minimum of steps, and shrinks after a hard one.
        hard: a settling of more than this part of its maximum of steps is a hard one.
        cool: the factor on the learning rate after a settling that strayed or ran away.
        coldest: the smallest such factor, all in all.
        warm: the factor on the learning rate, up to its own, after every tick that came closer than ever.
        slow: the part of the way below which the learning rate falls with the distance.
        enough: the part of its way at which a phase makes room for the next, whose layers move beside its own.
    """

    barrier: float
    share: float = 0.05
    least: float = 0.002
    most: float = 0.5
    grow: float = 1.5
    hard: float = 0.5
    cool: float = 0.5
    coldest: float = 1 / 64
    warm: float = 1.05
    slow: float = 0.3
    enough: float = 0.1

    def fractions(self, gaps: Tensor, start_gaps: Tensor, share: float) -> Tensor:
        """``min(1, share·gap₀/gap)`` for every tensor, the gaps taken over all of them together.

        A constant share arrives in 1/share ticks.
        """
        gap, start = torch.linalg.vector_norm(gaps), torch.linalg.vector_norm(start_gaps)
        fraction = torch.where(gap > 0, share * start / gap, 1.0).clamp(max=1.0)
        return fraction.expand(len(gaps))

    def after(self, share: float, settled: Settled, rule: SettleRule) -> float:
        """The next tick's share."""
        if not settled.stood:
            return share / 2
        if settled.low and settled.steps <= rule.min_steps:
            return min(self.most, share * self.grow)
        if settled.steps > self.hard * rule.max_steps > 0:
            return max(self.least, share / self.grow)
        return share

    def tempered(self, lr: float, settled: Settled, strayed: bool, gained: bool) -> float:
        """The next tick's factor on the learning rate.

        Args:
            lr: the present one.
            settled: how this tick settled.
            strayed: the walk has come no closer for long, or left its destination again.
            gained: it is closer than ever.
        """
        if strayed or settled.runaway:
            return max(self.coldest, lr * self.cool)
        return min(1.0, lr * self.warm) if gained else lr

    def calm(self, gap: float, start: float) -> float:
        """A further factor on the learning rate: the noise of settling must not hide a destination that is near."""
        return min(1.0, max(self.coldest, gap / (self.slow * start))) if start > 0 else 1.0

    def over(self, ticks: int, arrived: bool) -> bool:
        """Whether the phase ends: when the move reached the destination."""
        return arrived
