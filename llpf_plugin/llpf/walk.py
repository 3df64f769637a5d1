"""The walk: one tick is move → project → settle → project (paper, Algorithms 1 and 2; literally in `reference`)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llpf_plugin.geometry import moves, placement, sphere
from llpf_plugin.geometry.scale_groups import rescale_
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates
from llpf_plugin.llpf.directions import Direction, Move
from llpf_plugin.llpf.schedule import Phase
from llpf_plugin.llpf.settling import Settled, settle
from llpf_plugin.llpf.step_control import StepControl
from llpf_plugin.methods.base import Step
from llpf_plugin.methods.trained import OnModel
from llpf_plugin.records import Outcome, Tick
from llpf_plugin.workspace import Workspace

STALL, PATIENCE = 40, 5
"""Ticks that bring the walk no closer, after which it settles more gently, since its steps undo its moves; and the
settlings on the spot in a row, or times as many ticks at the smallest learning rate, after which a phase collapses."""

TOO_FAST, SWEEP_LR = 0.25, 0.2
"""Factors on the learning rate: where a walk that stalls was too fast; with every further, ten times nearer, sweep."""


@dataclass(frozen=True)
class WalkState:
    """Where a walk stands, besides its tensors.

    ``phase`` and ``tick`` count from 0, phases over all sweeps; ``share`` is of the next move, ``lr`` a factor. Since
    the ``closest`` distance ``stalled`` ticks have passed, since the last accepted move ``stuck`` rests on the spot.
    """

    phase: int
    tick: int
    share: float
    lr: float
    closest: float
    stalled: int = 0
    stuck: int = 0


class Walk(OnModel):
    """A walk as a solver: a direction and, phase by phase, a step control.

    Each phase names everything that moves in it, so that cumulative ones repeat earlier layers. If the last one came
    near its destination without arriving, they are swept again, without a first one that gives way.

    Args:
        workspace: whose model walks.
        phases: in order.
        toward: makes the direction from the coordinates that walk and the end of the stretch.
        keep_below: rolling mini-batch loss above which a point is not a knot of the path.
    """

    settle = staticmethod(settle)

    def __init__(
        self, workspace: Workspace, phases: Sequence[Phase], toward: Callable[[Weights, Weights], Direction],
        keep_below: float = math.inf,
    ) -> None:  # fmt: skip
        self.workspace, self.phases, self.toward, self.keep_below = workspace, tuple(phases), toward, keep_below

    def init(self, start: Weights, end: Weights) -> WalkState:
        """Place the model at the start."""
        assign(self.workspace.model, start)
        self.weights = coordinates(self.workspace.model, start)
        self.before, self.direction = clone(self.weights), self.toward(self.weights, end)
        named = self.workspace.model.named_parameters()
        own = [[p] for name, p in named if name in self.weights] if self.direction.rates else [[p for _, p in named]]
        self.optimizer = torch.optim.SGD([{"params": group} for group in own], self.phases[0].settle.lr)
        return self._enter(0, 1.0)

    def step(self, state: WalkState) -> Step:
        """One tick, and what the step control makes of it."""
        (phase, sweep), direction = self._phase(state.phase), self.direction
        resting = state.share < phase.control.min_share
        if not (resting or direction.moving()):
            return Step(state, outcome=Outcome.ARRIVED)
        if state.phase == state.tick == 0 and direction.exact:
            rescale_(self.weights, direction.exact, direction.wanted)
            scaled = tuple(group.matrix for group in direction.exact)
            tick = Tick(phase.name, 0, state.closest, math.nan, math.nan, 0, low=True, share=1.0, scaled=scaled)
            return Step(replace(state, tick=1), knot=True, tick=tick)
        move = direction.propose(phase.active, phase.control, 0.0 if resting else state.share)
        lr = phase.settle.lr * state.lr * phase.control.anneal(move.gap, move.start_gap) * SWEEP_LR**sweep
        settled = self._tick(phase, move, lr, resting)
        tick = Tick(
            phase.name, state.tick, move.gap, settled.first, settled.mean, settled.steps, settled.accepted,
            settled.low, state.share, lr, sweep,
        )  # fmt: skip
        after, outcome = self._judge(state, phase, move, settled)
        return Step(after, settled.accepted and settled.mean <= self.keep_below, tick, outcome)

    def _tick(self, phase: Phase, move: Move, lr: float, on_the_spot: bool) -> Settled:
        """Move, project, settle, project (paper, Algorithm 1, lines 5 to 8); a move that is not accepted is undone."""
        weights, spheres = self.weights, self.direction.spheres
        torch._foreach_copy_(placement.locals_of(self.before), placement.locals_of(weights))
        destination = [self.direction.destination[k] for k in move.names]
        moves.move_([weights[k] for k in move.names], destination, move.fractions)
        sphere.project_([weights[k] for k in spheres], spheres.values())
        if move.whole or not move.names:  # momentum would carry the walk past its destination
            self.optimizer.state.clear()
        momentum = phase.settle.momentum
        for group, rate in zip(self.optimizer.param_groups, self.direction.rates or [1.0], strict=True):
            group.update(lr=lr * rate, momentum=momentum, nesterov=momentum > 0)
        settled = self.settle(self.workspace, self.optimizer, phase.settle, phase.control.reject_above, on_the_spot)
        if settled.accepted:  # every held tensor, active or not, since settling moves them all
            sphere.project_([weights[k] for k in spheres], spheres.values())
        else:
            torch._foreach_copy_(placement.locals_of(weights), placement.locals_of(self.before))
            self.optimizer.state.clear()
        return settled

    def _judge(self, state: WalkState, phase: Phase, move: Move, settled: Settled) -> tuple[WalkState, Outcome | None]:
        """The state after a tick, and how the walk ends if it does."""
        control, direction, final = phase.control, self.direction, phase is self.phases[-1]
        good = settled.accepted and settled.mean <= self.keep_below
        whole, close = good and move.whole, good and move.gap <= control.hand_over * move.start_gap
        there = (whole or close) and (not (final or control.gives_way > 0) or direction.near())
        strayed = whole and not there  # settling left the destination again: the last tick is repeated more gently
        arrived = there or (strayed and state.lr <= control.min_lr)
        after = self._after(state, phase, move, settled, strayed)
        if final and close and not arrived and len(self.phases) > 1:
            return self._enter(state.phase + 1, after.lr), None
        least = max(control.min_share, control.gives_way if final else 0.0)
        if not math.isfinite(settled.mean) and min(state.share, after.share) < least:
            return after, Outcome.DIVERGED
        collapsed = self._collapsed(after, control)
        if not (collapsed or control.ends(after.tick, arrived) or (good and not direction.moving())):
            return after, None
        if final and after.share < control.gives_way and after.lr > TOO_FAST:
            return after, Outcome.STALLED
        if final or (control.gives_way > 0 and not collapsed):
            return after, direction.lost if collapsed else Outcome.ARRIVED if direction.near() else Outcome.SHORT
        return self._enter(state.phase + 1, after.lr), None

    def _after(self, state: WalkState, phase: Phase, move: Move, settled: Settled, strayed: bool) -> WalkState:
        """The state after a tick within its phase."""
        control, resting = phase.control, state.share < phase.control.min_share
        stalled = 0 if move.gap < state.closest else state.stalled + 1
        strayed = strayed or (stalled > 0 and stalled % STALL == 0)
        share, lr = control.after(state.share, state.lr, settled, strayed, stalled == 0)
        share = control.min_share if resting else share
        if settled.accepted and settled.mean > self.keep_below:  # settle on the spot before the walk continues
            share = min(share, control.min_share / 2)
        stuck = state.stuck + 1 if resting else 0 if settled.accepted else state.stuck
        return WalkState(state.phase, state.tick + 1, share, lr, min(move.gap, state.closest), stalled, stuck)

    def _collapsed(self, state: WalkState, control: StepControl) -> bool:
        """Whether no move is accepted any more, or none gains anything."""
        coldest = state.lr <= control.min_lr and state.stalled > PATIENCE * STALL
        hopeless = self.direction.endless and state.stalled >= STALL
        return coldest or hopeless or state.stuck > PATIENCE or state.share < control.gives_way

    def _phase(self, number: int) -> tuple[Phase, int]:
        """A phase by the number of those before it, and how many sweeps through all phases that makes."""
        once = int(self.phases[0].control.gives_way > 0 and len(self.phases) > 1)
        sweep, place = divmod(max(0, number - once), len(self.phases) - once)
        return self.phases[number if number < once else once + place], sweep

    def _enter(self, number: int, lr: float) -> WalkState:
        phase, _ = self._phase(number)
        self.direction.start_gaps = self.direction.gaps(phase.active)
        return WalkState(number, 0, phase.control.share, lr, float(torch.linalg.vector_norm(self.direction.start_gaps)))

    def closing(self) -> list[Weights]:
        """The end on the start's spheres."""
        return [clone(self.direction.destination, "cpu")]

    def save(self) -> dict[str, Tensor]:
        """The weights, the optimizer's momentum, and the distances with which the phase began."""
        return {**super().save(), "start_gaps": self.direction.start_gaps}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        super().load(tensors)
        self.direction.start_gaps = tensors["start_gaps"].to(self.direction.start_gaps.device, copy=True)
