"""AutoNEB (Draxler et al., 2018): pivots of a chain slide down across it while they stay evenly spaced along it.

Only floating-point parameters are coordinates; the authors' code also moves BatchNorm's integer counters.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from llpf_plugin.evaluation.along_path import losses_on_line
from llpf_plugin.evaluation.point import borrowed
from llpf_plugin.geometry.placement import local, placed, portable, totals
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates, distance, lerp
from llpf_plugin.methods.base import Plan, Problem, Step, TrainState
from llpf_plugin.methods.baselines import AutoNEB
from llpf_plugin.methods.trained import load_optimizer, optimizer_tensors, outcome_of, tick_of
from llpf_plugin.records import Outcome
from llpf_plugin.workspace import Workspace

CYCLES = ((1.0, 1), (1.0, 1), (1.0, 1), (1.0, 1), (1.0, 2), (1.0, 2), *[(0.1, 1)] * 4, *[(0.01, 1)] * 4)
"""The paper's 14 cycles: the factor on the learning rate, and the cycle's part of all steps in sixteenths."""

FIRST, LATER, HIGH = 3, 2, 0.1
"""Pivots of the first cycle; the most that a later one inserts; how high a place must be, over the losses' range."""

POINTS, SAMPLE = 4, 500
"""Sub-segments between two pivots, and training examples, on which insertions are decided."""

NEB_LR, MOMENTUM = 2.0, 0.9
"""The learning rate in units of the task's own is that of Bezier curves."""


@dataclass(frozen=True)
class NebState(TrainState):
    """The state of AutoNEB: ``cycle`` is the index of the present one."""

    cycle: int = 0


def plan(method: AutoNEB, problem: Problem) -> Plan:
    """One stretch, trained as a whole."""
    return Plan(lambda stretch: Band(method, problem, problem.steps(method.steps)))


class Band:
    """The chain: its fixed ends with their losses, and its pivots, leaves of the graph.

    A sweep takes the gradient at every pivot, on a mini-batch each: as many gradient steps as there are pivots.

    Args:
        settings: the weight decay.
        problem: whose model is used at the pivots; it stays at the start itself.
        steps: gradient steps in all, divided among the cycles as in the paper.
    """

    closes_with: ClassVar[str] = "curve"

    def __init__(self, settings: AutoNEB, problem: Problem, steps: int) -> None:
        self.workspace, self.steps, self.weight_decay = problem.workspace, steps, settings.weight_decay
        self.lr = NEB_LR * problem.lr

    def init(self, start: Weights, end: Weights) -> NebState:
        """Place `FIRST` pivots evenly on the straight line; cycles too short for a step are skipped."""
        assign(self.workspace.model, start)
        own = coordinates(self.workspace.model, start)
        self.start, self.end = ({k: placed(w[k], p) for k, p in own.items()} for w in (start, end))
        with borrowed(self.workspace):
            self.losses = tuple(losses_on_line(self.workspace, self.start, self.end, 1, SAMPLE))
        self._place([lerp(self.start, self.end, i / (FIRST + 1)) for i in range(1, FIRST + 1)])
        return NebState(cycle=next((i for i in range(len(CYCLES)) if self._end(i) > 0), 0))

    def _place(self, points: Sequence[Weights]) -> None:
        """Pivots at these points, with a fresh optimizer."""
        self.pivots = [{k: t.clone().requires_grad_() for k, t in point.items()} for point in points]
        self.optimizer = torch.optim.SGD([t for p in self.pivots for t in p.values()], self.lr, MOMENTUM)

    def chain(self) -> list[Weights]:
        """Ends and pivots in order."""
        return [self.start, *({k: t.detach() for k, t in p.items()} for p in self.pivots), self.end]

    def step(self, state: NebState) -> Step:
        """One sweep over all pivots; at the end of a cycle pivots are inserted where the chain is high."""
        left = self._end(state.cycle) - state.steps
        if left <= 0:
            return Step(state, outcome=Outcome.TRAINED)
        remaining = self.workspace.remaining
        lr = self.lr * CYCLES[state.cycle][0]
        self.optimizer.param_groups[0]["lr"] = lr
        losses = self._sweep(left if remaining is None else min(left, remaining))
        tick = tick_of("autoneb", state.steps, self.steps, losses, lr, pivots=len(self.pivots))
        after = NebState(state.steps + len(losses), state.cycle)
        outcome = outcome_of(after.steps, tick.settled_loss, self.steps)
        if outcome is None and after.steps >= self._end(after.cycle):
            after = self._next_cycle(after)
        return Step(after, False, tick, outcome)

    def _end(self, cycle: int) -> int:
        """The gradient step at which a cycle ends."""
        return round(self.steps * sum(part for _, part in CYCLES[: cycle + 1]) / 16)

    def _sweep(self, most: int) -> list[Tensor]:
        """Gradients of as many pivots as the budget allows, tangential parts taken out; one step; evenly spaced again.

        A pivot that got no gradient, because the budget ended within the sweep, stays.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for pivot in self.pivots[:most]:
            loss = self.workspace.loss(pivot)
            self.workspace.backward(loss, pivot.values())
            losses.append(loss.detach())
        known = [self.losses[0], *(float(loss) for loss in losses), self.losses[1]]
        chain = self.chain()
        for i, pivot in enumerate(self.pivots[: len(losses)]):
            tangent = upwind_tangent(chain[i : i + 3], known[i : i + 3])
            gradients = {k: t.grad + self.weight_decay * t.detach() for k, t in pivot.items() if t.grad is not None}
            along = sum((local(g) * local(tangent[k])).sum() for k, g in gradients.items())
            along = totals(torch.as_tensor(along), list(gradients.values()))
            for k, g in gradients.items():
                pivot[k].grad = g - along * tangent[k]
        self.optimizer.step()
        respace(self.chain())
        return losses

    def _next_cycle(self, state: NebState) -> NebState:
        """Insert pivots, and begin the next cycle with a fresh optimizer; cycles without a step are skipped."""
        cycle = state.cycle + 1
        while self._end(cycle) <= state.steps:
            cycle += 1
        chain = self.chain()
        with borrowed(self.workspace):
            missing = missing_pivots(self.workspace, chain)
        for segment, u in sorted(missing, reverse=True):
            chain.insert(segment + 1, lerp(chain[segment], chain[segment + 1], u))
        self._place(chain[1:-1])
        return NebState(state.steps, cycle)

    def knot(self) -> Weights:
        """The start: no single point of a chain is the one that the search stands on."""
        return clone(self.start, "cpu")

    def closing(self) -> list[Weights]:
        """The pivots."""
        return [clone(p, "cpu") for p in self.chain()[1:-1]]

    def save(self) -> dict[str, Tensor]:
        """The pivots and the optimizer's momentum."""
        pivots = {f"pivot.{i}.{k}": portable(t.detach()) for i, p in enumerate(self.pivots) for k, t in p.items()}
        return {**pivots, **optimizer_tensors(self.optimizer)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        count = sum(name.startswith("pivot.") for name in tensors) // len(self.start)
        if any(tensors[f"pivot.{i}.{k}"].shape != t.shape for i in range(count) for k, t in self.start.items()):
            raise ValueError("a pivot has other shapes than the ends")
        self._place([{k: placed(tensors[f"pivot.{i}.{k}"], t) for k, t in self.start.items()} for i in range(count)])
        load_optimizer(self.optimizer, tensors)


def upwind_tangent(chain: Sequence[Weights], losses: Sequence[float]) -> Weights:
    """The unit tangent at the middle one of three points, towards the higher one (Henkelman and Jónsson, 2000)."""
    back = {k: t - chain[0][k] for k, t in chain[1].items()}
    forth = {k: t - chain[1][k] for k, t in chain[2].items()}
    rise, fall = losses[2] - losses[1], losses[0] - losses[1]
    if rise > 0 > fall or rise < 0 < fall:
        share = 1.0 if rise > fall else 0.0
    else:  # an extremum: both sides, the higher one with the larger weight
        steep, flat = max(abs(rise), abs(fall)), min(abs(rise), abs(fall))
        total = steep + flat
        share = 0.5 if total == 0 else (steep if losses[2] > losses[0] else flat) / total
    sides = [_normalised(forth), _normalised(back)]
    return _normalised({k: share * sides[0][k] + (1 - share) * sides[1][k] for k in back})


def _normalised(vector: Weights) -> Weights:
    """The vector at length 1, over all tensors together; zero stays zero."""
    squares = torch.stack([local(t).square().sum() for t in vector.values()]).sum()
    length = totals(squares, list(vector.values())).sqrt()
    return {k: t / length.clamp_min(torch.finfo(t.dtype).tiny) for k, t in vector.items()}


@torch.no_grad()
def respace(chain: Sequence[Weights]) -> None:
    """Move the inner points of a chain along it, in place, until all segments are equally long."""
    before = [clone(point) for point in chain]
    reached = [0.0]
    for p, q in pairwise(before):
        reached.append(reached[-1] + distance(p, q))
    if not math.isfinite(reached[-1]):  # the loss was not a number: the search is about to end
        return
    for i in range(1, len(chain) - 1):
        want = reached[-1] * i / (len(chain) - 1)
        j = max(j for j in range(len(chain) - 1) if reached[j] <= want)
        span = reached[j + 1] - reached[j]
        moved = lerp(before[j], before[j + 1], (want - reached[j]) / span if span > 0 else 0.0)
        for k, t in chain[i].items():
            t.copy_(moved[k])


def missing_pivots(workspace: Workspace, chain: Sequence[Weights]) -> list[tuple[int, float]]:
    """Where pivots are missing: (segment, u) of the places highest above the line between their pivots' losses.

    A place counts if it is more than `HIGH` of the range of all losses above that line; at most one per segment, and
    at most `LATER` in all.
    """
    rows = [losses_on_line(workspace, p, q, POINTS, SAMPLE) for p, q in pairwise(chain)]
    every = [loss for row in rows for loss in row]
    extent = max(every) - min(every)
    found = []
    for segment, row in enumerate(rows):
        above = [loss - row[0] - (row[-1] - row[0]) * i / POINTS for i, loss in enumerate(row)]
        best = max(range(1, POINTS), key=above.__getitem__)
        if above[best] > HIGH * extent:
            found.append((above[best], segment, best / POINTS))
    return [(segment, u) for _, segment, u in sorted(found, reverse=True)[:LATER]]
