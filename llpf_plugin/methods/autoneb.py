"""AutoNEB (Draxler et al., 2018): pivots of a chain slide down across it while they stay evenly spaced along it.

Only floating-point parameters are coordinates; the authors' code also moves BatchNorm's integer counters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from llpf_plugin.evaluation.along_path import linear_losses
from llpf_plugin.evaluation.point import borrowed
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates, distance, lerp
from llpf_plugin.methods.base import Leg, Outcome, Step
from llpf_plugin.methods.trained import TrainState, load_optimizer, optimizer_tensors, report
from llpf_plugin.workspace import Gradient

CYCLES = ((1.0, 1), (1.0, 1), (1.0, 1), (1.0, 1), (1.0, 2), (1.0, 2), *[(0.1, 1)] * 4, *[(0.01, 1)] * 4)
"""The paper's 14 cycles: the factor on the learning rate, and the cycle's part of all steps in sixteenths."""

FIRST, LATER, HIGH = 3, 2, 0.1
"""Pivots of the first cycle; the most that a later one inserts; how high a place must be, over the losses' range."""

POINTS, SAMPLE = 4, 500
"""Sub-segments between two pivots, and training examples, on which insertions are decided."""


@dataclass(frozen=True)
class NebState(TrainState):
    """Where AutoNEB stands: ``cycle`` is the index of the present one."""

    cycle: int = 0


@dataclass
class Band:
    """The workspace: the chain's fixed ends with their losses, and its pivots, leaves of the graph."""

    gradient: Gradient
    leg: Leg
    ends: tuple[Weights, Weights]
    losses: tuple[float, float]
    pivots: list[Weights]
    optimizer: torch.optim.SGD

    def chain(self) -> list[Weights]:
        """Ends and pivots in order."""
        return [self.ends[0], *({k: t.detach() for k, t in p.items()} for p in self.pivots), self.ends[1]]


@dataclass(frozen=True)
class AutoNEB:
    """AutoNEB as a finder.

    A sweep takes the gradient at every pivot, on a mini-batch each: as many gradient steps as there are pivots.

    Attributes:
        steps: gradient steps in all, divided among the cycles as in the paper.
        lr: the learning rate of the first cycles (the paper: 0.1).
        momentum: of SGD.
        weight_decay: added to the pivots' gradients (the paper: 1e-4).
    """

    steps: int
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    kind: ClassVar[str] = "curve"

    def init(self, leg: Leg) -> tuple[Band, NebState]:
        """Place `FIRST` pivots evenly on the straight line; cycles too short for a step are skipped."""
        assign(leg.gradient.model, leg.start)
        own = coordinates(leg.gradient.model)
        ends = [{k: end[k].to(p.device, p.dtype, copy=True) for k, p in own.items()} for end in (leg.start, leg.end)]
        with borrowed(leg.gradient):
            low = linear_losses(leg.gradient, ends[0], ends[1], 1, SAMPLE)
        pivots = self._pivots([lerp(ends[0], ends[1], i / (FIRST + 1)) for i in range(1, FIRST + 1)])
        work = Band(leg.gradient, leg, (ends[0], ends[1]), (low[0], low[1]), pivots, self._optimizer(pivots))
        first = next((i for i in range(len(CYCLES)) if self._end(i) > 0), None)
        return work, NebState(cycle=first or 0, outcome=Outcome.TRAINED.name if first is None else None)

    def step(self, work: Band, state: NebState) -> Step:
        """One sweep over all pivots; at the end of a cycle pivots are inserted where the chain is high."""
        most = self._end(state.cycle) - state.steps
        most = most if work.gradient.remaining is None else min(most, work.gradient.remaining)
        lr = self.lr * CYCLES[state.cycle][0]
        work.optimizer.param_groups[0]["lr"] = lr
        losses = self._sweep(work, most)
        words = report("autoneb", state, self.steps, losses, lr)
        plain = state.after(len(losses), words["settled_loss"], self.steps)
        after = NebState(plain.steps, plain.outcome, state.cycle)
        if after.outcome is None and after.steps >= self._end(after.cycle):
            after = self._next_cycle(work, after)
        return Step(after, knot=False, report={**words, "pivots": len(work.pivots)})

    def _end(self, cycle: int) -> int:
        """The gradient step at which a cycle ends."""
        return round(self.steps * sum(part for _, part in CYCLES[: cycle + 1]) / 16)

    def _sweep(self, work: Band, most: int) -> list[Tensor]:
        """Gradients of as many pivots as the budget allows, tangential parts taken out; one step; evenly spaced again.

        A pivot that got no gradient, because the budget ended within the sweep, stays.
        """
        work.optimizer.zero_grad(set_to_none=True)
        losses = []
        for pivot in work.pivots[:most]:
            loss = work.gradient.loss(pivot)
            work.gradient.backward(loss, pivot.values())
            losses.append(loss.detach())
        known = [work.losses[0], *(float(loss) for loss in losses), work.losses[1]]
        chain = work.chain()
        for i, pivot in enumerate(work.pivots[: len(losses)]):
            tangent = self._tangent(chain[i : i + 3], known[i : i + 3])
            gradients = {k: t.grad + self.weight_decay * t.detach() for k, t in pivot.items() if t.grad is not None}
            along = sum((g * tangent[k]).sum() for k, g in gradients.items())
            for k, g in gradients.items():
                pivot[k].grad = g - along * tangent[k]
        work.optimizer.step()
        respace(work.chain())
        return losses

    @staticmethod
    def _tangent(chain: Sequence[Weights], losses: Sequence[float]) -> Weights:
        """The unit tangent at the middle one of three points (Henkelman and Jónsson, 2000): towards the higher one."""
        back = {k: t - chain[0][k] for k, t in chain[1].items()}
        forth = {k: t - chain[1][k] for k, t in chain[2].items()}
        rise, fall = losses[2] - losses[1], losses[0] - losses[1]
        if rise > 0 > fall or rise < 0 < fall:
            share = 1.0 if rise > fall else 0.0
        else:  # an extremum: both sides, the higher one with the larger weight
            steep, flat = max(abs(rise), abs(fall)), min(abs(rise), abs(fall))
            total = steep + flat
            share = 0.5 if total == 0 else (steep if losses[2] > losses[0] else flat) / total
        sides = [unit(forth), unit(back)]
        return unit({k: share * sides[0][k] + (1 - share) * sides[1][k] for k in back})

    def _next_cycle(self, work: Band, state: NebState) -> NebState:
        """Insert pivots, and begin the next cycle with a fresh optimizer; cycles without a step are skipped."""
        cycle = state.cycle + 1
        while self._end(cycle) <= state.steps:
            cycle += 1
        chain = work.chain()
        with borrowed(work.gradient):
            high = highest(work.gradient, chain)
        for segment, u in sorted(high, reverse=True):
            chain.insert(segment + 1, lerp(chain[segment], chain[segment + 1], u))
        work.pivots = self._pivots(chain[1:-1])
        work.optimizer = self._optimizer(work.pivots)
        return NebState(state.steps, None, cycle)

    @staticmethod
    def _pivots(points: Sequence[Weights]) -> list[Weights]:
        return [{k: t.clone().requires_grad_() for k, t in point.items()} for point in points]

    def _optimizer(self, pivots: Sequence[Weights]) -> torch.optim.SGD:
        return torch.optim.SGD([t for p in pivots for t in p.values()], self.lr, self.momentum)

    def knot(self, work: Band) -> Weights:
        """The start: no single point of a chain is the one that the search stands on."""
        return clone(work.leg.start, "cpu")

    def closing(self, work: Band, state: NebState) -> list[Weights]:
        """The pivots, then the end."""
        return [*(clone(p, "cpu") for p in work.chain()[1:-1]), work.leg.end]

    def save(self, work: Band) -> dict[str, Tensor]:
        """The pivots and the optimizer's momentum."""
        pivots = {f"pivot.{i}.{k}": t.detach() for i, p in enumerate(work.pivots) for k, t in p.items()}
        return {**pivots, **optimizer_tensors(work.optimizer)}

    def load(self, work: Band, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        own = work.ends[0]
        count = sum(name.startswith("pivot.") for name in tensors) // len(own)
        points = [{k: tensors[f"pivot.{i}.{k}"].to(t.device) for k, t in own.items()} for i in range(count)]
        work.pivots = self._pivots(points)
        work.optimizer = self._optimizer(work.pivots)
        load_optimizer(work.optimizer, tensors)

    def state_from(self, values: Mapping[str, Any]) -> NebState:
        """Inverse of ``dataclasses.asdict``."""
        return NebState(**values)


def unit(vector: Weights) -> Weights:
    """The vector at length 1, over all tensors together; zero stays zero."""
    length = torch.stack([t.square().sum() for t in vector.values()]).sum().sqrt()
    return {k: t / length.clamp_min(torch.finfo(t.dtype).tiny) for k, t in vector.items()}


@torch.no_grad()
def respace(chain: Sequence[Weights]) -> None:
    """Move the inner points of a chain along it, in place, until all segments are equally long."""
    before = [clone(point) for point in chain]
    reached = [0.0]
    for p, q in pairwise(before):
        reached.append(reached[-1] + distance(p, q))
    for i in range(1, len(chain) - 1):
        want = reached[-1] * i / (len(chain) - 1)
        j = max(j for j in range(len(chain) - 1) if reached[j] <= want)
        span = reached[j + 1] - reached[j]
        moved = lerp(before[j], before[j + 1], (want - reached[j]) / span if span > 0 else 0.0)
        for k, t in chain[i].items():
            t.copy_(moved[k])


def highest(gradient: Gradient, chain: Sequence[Weights]) -> list[tuple[int, float]]:
    """Where pivots are missing: (segment, u) of the places highest above the line between their pivots' losses.

    A place counts if it is more than `HIGH` of the range of all losses above that line; at most one a segment, and
    at most `LATER` in all.
    """
    rows = [linear_losses(gradient, p, q, POINTS, SAMPLE) for p, q in pairwise(chain)]
    every = [loss for row in rows for loss in row]
    extent = max(every) - min(every)
    found = []
    for segment, row in enumerate(rows):
        above = [loss - row[0] - (row[-1] - row[0]) * i / POINTS for i, loss in enumerate(row)]
        best = max(range(1, POINTS), key=above.__getitem__)
        if above[best] > HIGH * extent:
            found.append((above[best], segment, best / POINTS))
    return [(segment, u) for _, segment, u in sorted(found, reverse=True)[:LATER]]
