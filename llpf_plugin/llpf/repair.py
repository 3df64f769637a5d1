"""A repair: the stretch of a walked path that lies above the goal is trained as a whole, on its variance spheres.

The stretch keeps its course and its ends. What is trained is one displacement, added to it under a hat function of its
arc length; the sum is projected on the spheres that the path has there. Gradients are taken where the loss was measured
to be high. Not of the paper; how it compares with walking again is in docs/repairs.md.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates, distance, lerp
from llpf_plugin.methods.base import Problem, Step, Stretch, TrainState
from llpf_plugin.methods.trained import GOLDEN, allowed, cooled, load_optimizer, optimizer_tensors, outcome_of, tick_of

PIECES = 16
"""Segments that the stretch has afterwards at least."""

EVERYWHERE = 1e-3
"""The part of the highest density of places that every place of the stretch has."""


class Repair:
    """SGD with momentum on the displacement, its learning rate cooled as that of curves.

    Args:
        problem: whose model is used at the places of the stretch; it stays at the start itself.
        correct: which tensors have spheres.
        stretch: its gradient steps, and the losses that were measured along it.
        knots: of the stretch as it is, ends included.
    """

    closes_with: ClassVar[str] = "curve"

    def __init__(self, problem: Problem, correct: sphere.Correct, stretch: Stretch, knots: Sequence[Weights]) -> None:
        self.workspace, self.lr, self.momentum = problem.workspace, stretch.lr * problem.lr, problem.momentum
        self.correct, self.stretch, self.knots, self.floor = correct, stretch, knots, problem.goal.ends

    def init(self, start: Weights, end: Weights) -> TrainState:
        """The displacement is 0."""
        assign(self.workspace.model, start)
        own = coordinates(self.workspace.model, start)
        self.chain = [{k: knot[k].to(p.device, p.dtype) for k, p in own.items()} for knot in self.knots]
        self.spheres = [sphere.spheres(knot, self.correct) for knot in self.chain]
        lengths = np.array([distance(p, q) for p, q in pairwise(self.chain)])
        self.reached = np.concatenate([[0.0], np.cumsum(lengths)]) / max(lengths.sum(), 1e-300)
        self.shift = {k: torch.zeros_like(p).requires_grad_() for k, p in own.items()}
        self.optimizer = torch.optim.SGD(self.shift.values(), self.lr, self.momentum)
        self.places, self.mass = self._distribution()
        return TrainState()

    def _distribution(self) -> tuple[np.ndarray, np.ndarray]:
        """Where gradients are taken: places by arc length, and the probability of all before each of them.

        The density is how far the loss lies above that of the worse end of the path.
        """
        segments, losses = np.array(self.stretch.losses, dtype=float).T
        places = np.interp(segments, np.arange(len(self.reached)), self.reached)
        finite = losses[np.isfinite(losses)]
        high = np.clip(np.nan_to_num(losses, nan=np.inf), self.floor, finite.max(initial=self.floor)) - self.floor
        density = high + max(EVERYWHERE * high.max(), 1e-12)
        mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(places))])
        return places, mass / max(mass[-1], 1e-300)

    def step(self, state: TrainState) -> Step:
        """Some gradient steps, each at its own place of the stretch: a golden-ratio sequence, spread by the loss."""
        losses, steps = [], self.stretch.steps
        for i in range(state.steps, state.steps + allowed(self.workspace, steps - state.steps)):
            self.optimizer.param_groups[0]["lr"] = cooled(self.lr, i / steps)
            loss = self.workspace.loss(self.at(float(np.interp((0.5 + i * GOLDEN) % 1.0, self.mass, self.places))))
            losses.append(loss.detach())
            self.workspace.backward(loss, self.shift.values())
            self.optimizer.step()
        done = state.steps + len(losses)
        tick = tick_of("repair", state.steps, steps, losses, cooled(self.lr, state.steps / steps))
        return Step(TrainState(done), False, tick, outcome_of(done, tick.settled_loss, steps))

    def at(self, t: float) -> Weights:
        """The point at ``t`` in [0, 1] of the arc length of the stretch as it was, with its graph."""
        i = min(int(np.searchsorted(self.reached, t, side="right")) - 1, len(self.chain) - 2)
        span = self.reached[i + 1] - self.reached[i]
        u = float((t - self.reached[i]) / span) if span > 0 else 0.0
        height, base = 1 - abs(2 * t - 1), lerp(self.chain[i], self.chain[i + 1], u)
        weights = {k: torch.add(w, self.shift[k], alpha=height) for k, w in base.items()}
        before, after = self.spheres[i], self.spheres[i + 1]
        for k in before.keys() & after.keys():
            weights[k] = sphere.project(weights[k], (1 - u) * before[k] + u * after[k])
        return weights

    def knot(self) -> Weights:
        """The start: no single point is the one that the search stands on."""
        return clone(self.chain[0], "cpu")

    @torch.no_grad()
    def closing(self) -> list[Weights]:
        """The inner knots where they are now, and more of them where segments are long."""
        places: list[float] = []
        for a, b in pairwise(self.reached.tolist()):
            pieces = max(1, math.ceil((b - a) * PIECES - 1e-9))
            places += [a + (b - a) * i / pieces for i in range(1, pieces + 1)]
        return [clone(self.at(t), "cpu") for t in places[:-1]]

    def save(self) -> dict[str, Tensor]:
        """The displacement and the optimizer's momentum."""
        return {**{f"shift.{k}": t.detach() for k, t in self.shift.items()}, **optimizer_tensors(self.optimizer)}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        for k, t in self.shift.items():
            t.copy_(tensors[f"shift.{k}"])
        load_optimizer(self.optimizer, tensors)
