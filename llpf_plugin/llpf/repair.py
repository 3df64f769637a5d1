"""A repair: a curve on the spheres, trained in place of the stretch of a walked path that lies above the goal.

It is quadratic, has the ends of the stretch, and begins with its middle on the path; every point is projected on the
sphere between those of the ends. Gradients are taken where the loss was measured to be high. Not of the paper; how it
compares with walking the stretch again is in docs/repairs.md.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.placement import placed
from llpf_plugin.geometry.weights import Weights, distance, lerp
from llpf_plugin.methods.base import Problem, Stretch, TrainState
from llpf_plugin.methods.baselines import SphereCurve
from llpf_plugin.methods.curve import CurveTraining

PIECES = 16
"""Segments that the stretch has afterwards."""

EVERYWHERE = 1e-3
"""The part of the highest density of places that every place of the stretch has."""


class Repair(CurveTraining):
    """A curve through the middle of a stretch, whose places are drawn by its losses.

    Its learning rate is such that the curve's middle moves as far in a step as a model would.

    Args:
        problem: whose model is used at the curve's points; it stays at the start itself.
        correct: which tensors have spheres.
        stretch: its gradient steps, the factor on its learning rate, and the losses that were measured along it.
        knots: of the stretch as it is, ends included.
    """

    def __init__(self, problem: Problem, correct: sphere.Correct, stretch: Stretch, knots: Sequence[Weights]) -> None:
        super().__init__(SphereCurve(pieces=PIECES), problem, stretch.steps)
        self.phase, self.correct, self.floor = "repair", correct, problem.goal.ends
        self.lr = stretch.lr * problem.lr / self.curve.basis(0.5)[1] ** 2
        self.stretch, self.knots = stretch, knots

    def init(self, start: Weights, end: Weights) -> TrainState:
        """Place the trained point such that the curve goes through the middle of the stretch."""
        state, reached = super().init(start, end), self._reached()
        i = min(int(np.searchsorted(reached, 0.5, side="right")) - 1, len(self.knots) - 2)
        u = float((0.5 - reached[i]) / max(reached[i + 1] - reached[i], 1e-300))
        middle, (first, weight, last) = lerp(self.knots[i], self.knots[i + 1], u), self.curve.basis(0.5)
        with torch.no_grad():
            for k, t in self.point.items():
                rest = placed(middle[k], t) - first * self.start[k] - last * self.end[k]
                t.copy_(rest / weight)
        self.places, self.mass = self._distribution(reached)
        return state

    def _reached(self) -> np.ndarray:
        """The part of the arc length at every knot."""
        lengths = np.array([distance(p, q) for p, q in pairwise(self.knots)])
        return np.concatenate([[0.0], np.cumsum(lengths)]) / max(lengths.sum(), 1e-300)

    def _distribution(self, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where gradients are taken: places in [0, 1], and the probability of all before each of them.

        The density is how far the loss lies above that of the worse end of the path.
        """
        segments, losses = np.array(self.stretch.losses, dtype=float).T
        places = np.interp(segments, np.arange(len(reached)), reached)
        finite = losses[np.isfinite(losses)]
        high = np.clip(np.nan_to_num(losses, nan=np.inf), self.floor, finite.max(initial=self.floor)) - self.floor
        density = high + max(EVERYWHERE * high.max(), 1e-12)
        mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(places))])
        return places, mass / max(mass[-1], 1e-300)

    def _place(self) -> float:
        """A place of the golden-ratio sequence, spread by the losses."""
        return float(np.interp(super()._place(), self.mass, self.places))
