"""LLPF: one tick is move → project → settle → project (paper, Algorithm 1)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from llpf_plugin.geometry import moves, sphere
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates
from llpf_plugin.llpf.pace import AdaptivePace, FixedPace
from llpf_plugin.llpf.settle import Settled, SettleRule, settle
from llpf_plugin.llpf.walk import Walk, WalkState
from llpf_plugin.methods.base import Leg, Outcome, Step

STALL = 40
"""Ticks that bring the walk no closer, after which it settles more gently: its steps undo its moves.

With 10 in place of 40 the learning rate of a CIFAR-10 walk fell from 0.01 to 0.0025 mid-way, and from there on it came
three times less far a step.
"""

SWEEP_LR = 0.2
"""The factor on the learning rate with every further sweep through the phases, which begins ten times nearer.

On CIFAR-10 the last 2 % of the way, with all layers moving, halved every 500 steps; a second sweep, the stem first and
what follows it free to adapt, went through them in 430.
"""


@dataclass(frozen=True)
class PhaseRule:
    """One phase of a walk: which tensors move, how far a tick goes, how long it settles.

    Attributes:
        name: for reports.
        active: names of the coordinates that move; None for all of them.
        pace: fixed or adaptive.
        settle: when settling ends.
        last: arriving here ends the walk even if phases follow; those are for a pace that collapses.
        yields: a share below this hands the walk to the phases that follow, if any do.
    """

    name: str
    active: frozenset[str] | None
    pace: FixedPace | AdaptivePace
    settle: SettleRule
    last: bool = False
    yields: float = 0.0


def tick(walk: Walk, phase: PhaseRule, fractions: Tensor, rest: bool = False) -> Settled:
    """One tick of M2M: move, project, settle, project (paper, Algorithm 1, lines 5 to 8)."""
    torch._foreach_copy_(list(walk.before.values()), list(walk.weights.values()))
    moves.move_(*walk.active(phase.active), fractions)
    walk.project()
    if bool((fractions >= 1).all()):
        walk.optimizer.state.clear()  # momentum would carry the walk past its destination
    settled = settle(walk.gradient, walk.optimizer, phase.settle, phase.pace.barrier, rest)
    if settled.stood:
        walk.project()
    else:
        walk.undo()
    return settled


@dataclass(frozen=True)
class LowLoss:
    """Low-Loss Path Finding from model to model, as a finder.

    Attributes:
        phases: in order; each names everything that moves in it, so cumulative phases repeat earlier layers.
        correct: which tensors are held on their variance spheres.
        two_sided: walk from both ends in turns, each towards the other's present place, until they meet.
        patience: settlings on the spot in a row, or times `STALL` ticks without coming closer at the smallest learning
            rate, before the pace is said to have collapsed.
    """

    phases: tuple[PhaseRule, ...]
    correct: sphere.Correct = "matrices"
    two_sided: bool = False
    patience: int = 5
    kind: ClassVar[str] = "closing"

    def init(self, leg: Leg) -> tuple[Walk, WalkState]:
        """Place the model at the start and project the end on the start's spheres."""
        assign(leg.gradient.model, leg.start)
        weights = coordinates(leg.gradient.model)
        spheres = sphere.spheres(weights, self.correct)
        destination = {k: leg.end[k].to(p.device, p.dtype, copy=True) for k, p in weights.items()}
        sphere.project_([destination[k] for k in spheres], spheres.values())
        optimizer = torch.optim.SGD(leg.gradient.model.parameters(), self.phases[0].settle.lr)
        walk = Walk(leg.gradient, weights, destination, spheres, clone(weights), optimizer, leg.end)
        return walk, self._enter(walk, 0, WalkState())

    def step(self, walk: Walk, state: WalkState) -> Step:
        """One tick, and what the pace makes of it."""
        if state.side != walk.side:
            walk.turn()
        phase = self.phases[state.phase]
        pace, rule = phase.pace, phase.settle
        resting = state.share < pace.least
        gaps = moves.gaps(*walk.active(phase.active))
        gap = float(torch.linalg.vector_norm(gaps))
        fractions = pace.fractions(gaps, walk.start_gaps, 0.0 if resting else state.share)
        lr = rule.lr * state.lr * pace.calm(gap, state.gap) * SWEEP_LR**state.sweep
        # Set anew every time, since a resumed walk begins in the middle of a phase.
        walk.optimizer.param_groups[0].update(lr=lr, momentum=rule.momentum, nesterov=rule.momentum > 0)
        settled = tick(walk, phase, fractions, resting)
        whole = settled.stood and not resting and bool((fractions >= 1).all())
        report = {
            "side": "AB"[walk.side], "sweep": state.sweep, "phase": phase.name, "tick": state.tick,
            "share": state.share, "lr": lr, "gap": gap, "first_loss": settled.first, "settled_loss": settled.mean,
            "steps": settled.steps, "kept": settled.stood, "low": settled.low,
        }  # fmt: skip
        return Step(self._after(walk, state, settled, gap, whole), knot=settled.stood, report=report)

    def _after(self, walk: Walk, state: WalkState, settled: Settled, gap: float, whole: bool) -> WalkState:
        """The state after a tick that began at distance ``gap``; ``whole``: its move reached the destination."""
        phase = self.phases[state.phase]
        pace, resting = phase.pace, state.share < phase.pace.least
        final = phase.last or phase is self.phases[-1]
        close = settled.stood and gap <= pace.enough * state.gap
        arrived = whole or close
        # Settling may stray from the destination: then the last tick is done again, more gently.
        strayed = False
        if final and arrived:
            arrived = walk.near()
            strayed = whole and not arrived
            arrived = arrived or (strayed and state.lr <= pace.coldest)
        stalled = 0 if gap < state.closest else state.stalled + 1
        strayed = strayed or (stalled > 0 and stalled % STALL == 0)
        after = replace(
            state, tick=state.tick + 1, side=1 - walk.side if self.two_sided else 0,
            lr=pace.tempered(state.lr, settled, strayed, stalled == 0),
            closest=min(gap, state.closest), stalled=stalled,
            share=pace.least if resting else pace.after(state.share, settled, phase.settle),
            stuck=state.stuck + 1 if resting else 0 if settled.stood else state.stuck,
        )  # fmt: skip
        diverged = not math.isfinite(settled.mean) and (resting or after.share < pace.least)
        if final and close and not (arrived or phase.last) and len(self.phases) > 1:
            return self._enter(walk, int(self.phases[0].last), after, sweep=state.sweep + 1)
        return self._next(walk, after, phase, arrived, diverged)

    def knot(self, walk: Walk) -> Weights:
        """A copy of the walk's weights on the CPU."""
        return clone(walk.weights, "cpu")

    def closing(self, walk: Walk, state: WalkState) -> list[Weights]:
        """The end on the start's spheres, then the end itself."""
        end = {k: walk.end[k].to("cpu", p.dtype, copy=True) for k, p in walk.weights.items()}
        sphere.project_([end[k] for k in walk.spheres], walk.spheres.values())
        return [end, walk.end]

    def _next(self, walk: Walk, state: WalkState, phase: PhaseRule, arrived: bool, diverged: bool) -> WalkState:
        coldest = state.lr <= phase.pace.coldest
        collapsed = state.stuck > self.patience or (coldest and state.stalled > self.patience * STALL)
        collapsed = collapsed or state.share < phase.yields
        if diverged:
            return replace(state, outcome=Outcome.DIVERGED.name)
        if phase.pace.over(state.tick, arrived) or collapsed:
            if state.phase + 1 == len(self.phases) or (phase.last and not collapsed):
                there = Outcome.ARRIVED if walk.near() else Outcome.SHORT
                return replace(state, outcome=(Outcome.COLLAPSED if collapsed else there).name)
            return self._enter(walk, state.phase + 1, state, state.sweep)
        return state

    def _enter(self, walk: Walk, index: int, before: WalkState, sweep: int = 0) -> WalkState:
        phase = self.phases[index]
        walk.start_gaps = moves.gaps(*walk.active(phase.active))
        gap = float(torch.linalg.vector_norm(walk.start_gaps))
        return WalkState(
            phase=index, sweep=sweep, side=before.side, gap=gap, share=phase.pace.share, lr=before.lr, closest=gap
        )

    def save(self, walk: Walk) -> dict[str, Tensor]:
        """The weights, the optimizer's momentum, the phase's starting distances; the other walker's place."""
        names: dict[Tensor, str] = {p: k for k, p in walk.gradient.model.named_parameters()}
        momentum = {
            f"momentum.{names[p]}": s["momentum_buffer"]
            for p, s in walk.optimizer.state.items()
            if s.get("momentum_buffer") is not None
        }
        there = {f"destination.{k}": t for k, t in walk.destination.items()} | {"side": torch.tensor(walk.side)}
        here = {f"weights.{k}": t for k, t in walk.weights.items()}
        return {**here, **(there if self.two_sided else {}), **momentum, "start_gaps": walk.start_gaps}

    def load(self, walk: Walk, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        split = {
            part: {k.partition(".")[2]: t for k, t in tensors.items() if k.startswith(part + ".")}
            for part in ("weights", "momentum", "destination")
        }
        assign(walk.gradient.model, split["weights"])
        for name, place in split["destination"].items():
            walk.destination[name].copy_(place)
        walk.side = int(tensors.get("side", 0))
        parameters = dict(walk.gradient.model.named_parameters())
        walk.optimizer.state.clear()
        for name, buffer in split["momentum"].items():
            walk.optimizer.state[parameters[name]]["momentum_buffer"] = buffer.to(walk.gradient.device, copy=True)
        walk.start_gaps = tensors["start_gaps"].to(walk.gradient.device)

    def state_from(self, values: Mapping[str, Any]) -> WalkState:
        """Inverse of ``dataclasses.asdict``."""
        return WalkState(**values)
