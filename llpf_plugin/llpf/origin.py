"""M2O: the same tick towards the origin (paper, Algorithm 2).

The destination is 0, nothing is projected but what has arrived on its target sphere, and `AngleConformal` sets the
learning rate of every layer. Only from larger spheres to smaller ones: the reverse explodes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.scale_groups import Unit
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates
from llpf_plugin.llpf.low_loss import STALL, LowLoss, PhaseRule, tick
from llpf_plugin.llpf.pace import FixedPace
from llpf_plugin.llpf.settle import Settled
from llpf_plugin.llpf.walk import Walk, WalkState
from llpf_plugin.methods.base import Leg, Outcome, Step

ON_SPHERE = 1e-4
"""Relative excess of the variance up to which a layer has arrived on its target sphere."""

SHARE = 0.05
"""The first tick's share of the distance to the origin; the adaptive pace grows and shrinks it."""


@dataclass
class Descent(Walk):
    """The workspace of a walk towards the origin.

    Attributes:
        start: the variance that every unit's matrix had at the start, ``v`` in `AngleConformal`.
    """

    start: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin(LowLoss):
    """Low-Loss Path Finding from model to origin, as a finder.

    Attributes:
        units: what moves; everything else only settles.
        targets: the variance at which each unit's matrix stops and is held from then on; 0 is the origin itself.
        exact: units that may be scaled for nothing, and are, in the first step and without gradient steps.
        angle_conformal: scale each layer's learning rate by ``w/v``, its present variance over that at the start.
        limit: rolling mini-batch loss over which a point is no knot of the path.
        ticks: the walk ends after this many, None for no limit.
    """

    units: tuple[Unit, ...] = ()
    targets: Mapping[str, float] = field(default_factory=dict)
    exact: tuple[Unit, ...] = ()
    angle_conformal: bool = True
    limit: float = math.inf
    ticks: int | None = None

    def init(self, leg: Leg) -> tuple[Descent, WalkState]:
        """Place the model at the start; the destination is the origin, every parameter has a learning rate."""
        assign(leg.gradient.model, leg.start)
        weights = coordinates(leg.gradient.model)
        origin = {k: torch.zeros((), dtype=p.dtype, device=p.device).expand_as(p) for k, p in weights.items()}
        groups = [{"params": [p]} for k, p in leg.gradient.model.named_parameters() if k in weights]
        optimizer = torch.optim.SGD(groups, self.phases[0].settle.lr)
        start = {u.matrix: sphere.variance(weights[u.matrix]) for u in self.units}
        work = Descent(leg.gradient, weights, origin, {}, clone(weights), optimizer, leg.end, start=start)
        gap = self._gap(work, self._variances(work))
        outcome = None if self._walking(self._variances(work)) else Outcome.ARRIVED.name
        state = WalkState(gap=gap, share=self.phases[0].pace.share, closest=gap, outcome=outcome)
        return work, state

    def step(self, work: Walk, state: WalkState) -> Step:
        """The exact units in one step, then one tick a step, and what the pace makes of it."""
        assert isinstance(work, Descent)
        phase, pace = self.phases[state.phase], self.phases[state.phase].pace
        if self.exact and state.phase == state.tick == 0:
            return self._scale(work, state)
        before = self._variances(work)
        walking = [] if (resting := state.share < pace.least) else self._walking(before, phase.active)
        shares = self._shares(work, phase, walking, before, state.share)
        names = {name: shares[u.matrix] for u in walking for name in u.names}
        active = replace(phase, active=frozenset(names))
        fractions = torch.tensor([names[k] for k in work.weights if k in names])
        work.spheres = self._held(before, shares)
        self._conform(work, phase, before, state.lr)
        settled = tick(work, active, fractions, resting)
        after = self._variances(work)
        good = settled.stood and settled.mean <= self.limit
        follows = self._ticked(work, state, phase, settled, good, resting, self._gap(work, after))
        report = {
            "phase": phase.name, "tick": state.tick, "share": state.share, "lr": state.lr * phase.settle.lr,
            "gap": state.gap, "first_loss": settled.first, "settled_loss": settled.mean,
            "steps": settled.steps, "kept": settled.stood, "low": settled.low,
        }  # fmt: skip
        return Step(self._next_state(follows, phase, after, settled, good), knot=good, report=report)

    def closing(self, walk: Walk, state: WalkState) -> list[Weights]:
        """Nothing: the leg ends at its last knot."""
        return []

    def _scale(self, work: Descent, state: WalkState) -> Step:
        """Put the exact units on their spheres, without a gradient step."""
        for unit in self.exact:
            factor = unit.factor(work.weights, self.targets[unit.matrix])
            for name in unit.names:
                work.weights[name].mul_(factor)
        variances = self._variances(work)
        gap = self._gap(work, variances)
        outcome = None if self._walking(variances) else Outcome.ARRIVED.name
        report = {
            "phase": self.phases[0].name, "tick": 0, "share": 1.0, "lr": 0.0, "gap": state.gap, "first_loss": math.nan,
            "settled_loss": math.nan, "steps": 0, "kept": True, "low": True, "exact": [u.matrix for u in self.exact],
        }  # fmt: skip
        after = replace(state, tick=1, gap=gap, closest=gap, outcome=outcome)
        return Step(after, knot=True, report=report)

    def _variances(self, work: Walk) -> dict[str, float]:
        """The present variance of every unit's matrix; one read from the device."""
        stds = torch.stack([sphere.moments(work.weights[u.matrix])[1] for u in self.units]).tolist()
        return {u.matrix: std**2 for u, std in zip(self.units, stds, strict=True)}

    def _walking(self, variances: Mapping[str, float], active: frozenset[str] | None = None) -> list[Unit]:
        """The units that have not arrived on their target spheres, of those that move in a phase."""
        return [
            u
            for u in self.units
            if (active is None or u.matrix in active) and variances[u.matrix] > self.targets[u.matrix] * (1 + ON_SPHERE)
        ]

    def _shares(
        self, work: Walk, phase: PhaseRule, walking: Sequence[Unit], variances: Mapping[str, float], share: float
    ) -> dict[str, float]:
        """The part of its way to 0 that each walking unit moves in this tick, and none beyond its sphere.

        The adaptive pace takes the same share of all; the fixed one has the paper's step rule.
        """
        most = {u.matrix: 1 - (self.targets[u.matrix] / variances[u.matrix]) ** 0.5 for u in walking}
        if not isinstance(phase.pace, FixedPace) or not walking:
            return {k: min(share, part) for k, part in most.items()}
        norms = torch.stack([torch.linalg.vector_norm(work.weights[k]) for k in most])
        asked = phase.pace.fractions(norms, norms, share).tolist()
        return {k: min(part, a) for (k, part), a in zip(most.items(), asked, strict=True)}

    def _held(self, variances: Mapping[str, float], shares: Mapping[str, float]) -> dict[str, float]:
        """The spheres of the units that have arrived, or will with this tick's move."""
        return {
            k: self.targets[k]
            for k, v in variances.items()
            if self.targets[k] > 0 and v * (1 - shares.get(k, 0.0)) ** 2 <= self.targets[k] * (1 + ON_SPHERE)
        }

    def _conform(self, work: Descent, phase: PhaseRule, variances: Mapping[str, float], lr: float) -> None:
        """`AngleConformal` (paper, Algorithm 2): the learning rate of each layer is ``η = η_base · w/v``."""
        factors = {name: variances[u.matrix] / work.start[u.matrix] for u in self.units for name in u.names}
        rule = phase.settle
        for name, group in zip(work.weights, work.optimizer.param_groups, strict=True):
            factor = factors.get(name, 1.0) if self.angle_conformal else 1.0
            group.update(lr=rule.lr * lr * factor, momentum=rule.momentum, nesterov=rule.momentum > 0)

    def _gap(self, work: Walk, variances: Mapping[str, float]) -> float:
        """The distance that is left, all walking units together."""
        squares = [
            float(torch.linalg.vector_norm(work.weights[u.matrix])) ** 2
            * (1 - (self.targets[u.matrix] / variances[u.matrix]) ** 0.5) ** 2
            for u in self._walking(variances)
        ]
        return sum(squares) ** 0.5

    def _ticked(
        self, work: Walk, state: WalkState, phase: PhaseRule, settled: Settled, good: bool, resting: bool, gap: float
    ) -> WalkState:
        """The next state, before it is known whether the walk is over."""
        pace = phase.pace
        stalled = 0 if gap < state.closest else state.stalled + 1
        strayed = stalled > 0 and stalled % STALL == 0
        rested = pace.share if isinstance(pace, FixedPace) else pace.least
        share = rested if resting else pace.after(state.share, settled, phase.settle)
        return replace(
            state, tick=state.tick + 1, closest=min(gap, state.closest), stalled=stalled, gap=gap,
            # A point over the limit is settled on the spot before the walk goes on.
            share=share if good or not settled.stood else min(share, pace.least / 2),
            lr=pace.tempered(state.lr, settled, strayed, stalled == 0),
            stuck=0 if good else state.stuck + 1 if resting else state.stuck,
        )  # fmt: skip

    def _next_state(
        self, state: WalkState, phase: PhaseRule, variances: Mapping[str, float], settled: Settled, good: bool
    ) -> WalkState:
        # Towards the origin itself no sphere waits that a gentler walk might still reach.
        endless = not any(self.targets.values()) and state.stalled >= STALL
        cold = endless or (state.lr <= phase.pace.coldest and state.stalled > self.patience * STALL)
        if not math.isfinite(settled.mean) and state.share < phase.pace.least:
            return replace(state, outcome=Outcome.DIVERGED.name)
        if state.stuck > self.patience or cold:
            return replace(state, outcome=Outcome.EDGE.name)
        if good and (not self._walking(variances) or (self.ticks is not None and state.tick >= self.ticks)):
            return replace(state, outcome=Outcome.ARRIVED.name)
        if phase.pace.over(state.tick, False):
            if state.phase + 1 == len(self.phases):
                return replace(state, outcome=(Outcome.SHORT if any(self.targets.values()) else Outcome.ARRIVED).name)
            return replace(state, phase=state.phase + 1, tick=0, share=self.phases[state.phase + 1].pace.share)
        return state
