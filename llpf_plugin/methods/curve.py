"""Curves between two fixed ends, trained as a whole: Bezier, the same on the variance sphere, and chains of knots.

Every gradient step draws a place t, computes the curve's point there from the control points, and steps on them by the
gradient of the loss at that point (Garipov et al., 2018: FGE). On the sphere the point is first projected, as
`VarianceCorrection` does, on the variance interpolated between the ends', and the gradient flows through the
projection. What is stored is the piecewise linear path through evenly spaced points of the curve.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from llpf_plugin.evaluation.along_path import linear_losses
from llpf_plugin.evaluation.point import borrowed
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates, lerp
from llpf_plugin.methods.base import Leg, Step
from llpf_plugin.methods.trained import TICK, TrainState, allowed, cooled, load_optimizer, optimizer_tensors, report
from llpf_plugin.search.settings import Optimizer
from llpf_plugin.tasks.data import generator
from llpf_plugin.workspace import Gradient

Shape = Literal["bezier", "chain"]
"""How control points make a curve: as a Bezier curve, or as knots of a piecewise linear one."""

CHECK, SAMPLE = 5, 2000
"""Ticks between two looks at the target, and training examples of such a look."""


@dataclass
class Bent:
    """The workspace: both ends, and the points between them that are trained.

    Attributes:
        gradient: the counted gradient; its model stays at the start.
        ends: the fixed points, on the device.
        points: the control points, leaves of the graph.
        spheres: variance of A and of B, of every tensor that is held on its sphere.
        optimizer: steps on the points.
        leg: as it was given.
    """

    gradient: Gradient
    ends: tuple[Weights, Weights]
    points: list[Weights]
    spheres: dict[str, tuple[float, float]]
    optimizer: torch.optim.Optimizer
    leg: Leg

    def leaves(self) -> list[Tensor]:
        """All that is trained."""
        return [t for point in self.points for t in point.values()]


@dataclass(frozen=True)
class Curve:
    """A curve with fixed ends, as a finder.

    Attributes:
        name: for reports.
        steps: gradient steps; the only setting without a default.
        shape: of the curve.
        control: points that are trained.
        correct: which tensors are held on the sphere at every place of the curve; ``none`` is the plain curve.
        optimizer: ``sgd`` (with momentum) or ``adam``.
        lr: the learning rate, cooled as `cooled` says.
        momentum: of SGD.
        weight_decay: adds ½·wd·‖w‖² of the curve's point to the loss (Garipov et al.).
        pieces: segments of the path that is stored, a multiple of ``control + 1`` for a chain.
        spread: draw places t evenly spread (a golden-ratio sequence) rather than independently.
        target: stop once the curve's training loss is at or under this, on a sample; None to take all steps.
    """

    name: str
    steps: int
    shape: Shape = "bezier"
    control: int = 1
    correct: sphere.Correct = "none"
    optimizer: Optimizer = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    pieces: int = 20
    spread: bool = False
    target: float | None = None
    kind: ClassVar[str] = "curve"

    def init(self, leg: Leg) -> tuple[Bent, TrainState]:
        """Place the control points evenly on the straight line, or at the leg's own knots."""
        assign(leg.gradient.model, leg.start)
        own = coordinates(leg.gradient.model)
        ends = [{k: end[k].to(p.device, p.dtype, copy=True) for k, p in own.items()} for end in (leg.start, leg.end)]
        even = [lerp(ends[0], ends[1], (i + 1) / (self.control + 1)) for i in range(self.control)]
        points = [
            {k: point[k].to(p.device, p.dtype, copy=True).requires_grad_() for k, p in own.items()}
            for point in (leg.via or even)
        ]
        both = [sphere.spheres(end, self.correct) for end in ends]
        spheres = {k: (v, both[1][k]) for k, v in both[0].items() if k in both[1]}
        leaves = [t for point in points for t in point.values()]
        optimizer: torch.optim.Optimizer
        if self.optimizer == "adam":
            optimizer = torch.optim.Adam(leaves, self.lr)
        else:
            optimizer = torch.optim.SGD(leaves, self.lr, self.momentum)
        return Bent(leg.gradient, (ends[0], ends[1]), points, spheres, optimizer, leg), TrainState.begin(self.steps)

    def step(self, work: Bent, state: TrainState) -> Step:
        """Some gradient steps, each at its own place of the curve."""
        gradient, losses = work.gradient, []
        for i in range(allowed(gradient, self.steps - state.steps)):
            work.optimizer.param_groups[0]["lr"] = cooled(self.lr, (state.steps + i) / self.steps)
            weights = self.at(work, place(gradient, self.spread))
            loss = gradient.loss(weights)
            losses.append(loss.detach())
            if self.weight_decay:
                loss = loss + 0.5 * self.weight_decay * sum(w.square().sum() for w in weights.values())
            gradient.backward(loss, work.leaves())
            work.optimizer.step()
        words = report(self.name, state, self.steps, losses, cooled(self.lr, state.steps / max(1, self.steps)))
        low = self._low(work, state.steps + len(losses))
        return Step(state.after(len(losses), words["settled_loss"], self.steps, low), knot=False, report=words)

    def at(self, work: Bent, t: float) -> Weights:
        """The curve's point at ``t`` in [0, 1], with its graph."""
        points = [work.ends[0], *work.points, work.ends[1]]
        parts = [(c, p) for c, p in zip(self._basis(t, len(points)), points, strict=True) if c]
        weights = {k: torch.stack([c * p[k] for c, p in parts]).sum(0) for k in work.ends[0]}
        for k, (start, end) in work.spheres.items():
            weights[k] = projected(weights[k], (1 - t) * start + t * end)
        return weights

    def _basis(self, t: float, count: int) -> list[float]:
        """The weight of each point at ``t``: Bernstein polynomials, or the two neighbours of a chain."""
        if self.shape == "bezier":
            degree = count - 1
            return [comb(degree, i) * t**i * (1 - t) ** (degree - i) for i in range(count)]
        return [max(0.0, 1 - abs(t * (count - 1) - i)) for i in range(count)]

    @torch.no_grad()
    def sampled(self, work: Bent) -> list[Weights]:
        """Points of the curve between its ends, on the CPU, evenly spaced in t."""
        return [clone(self.at(work, i / self.pieces), "cpu") for i in range(1, self.pieces)]

    def _low(self, work: Bent, steps: int) -> bool:
        """Whether the curve lies under the target on a sample; looked at now and then."""
        if self.target is None or steps == 0 or steps % (CHECK * TICK):
            return False
        with borrowed(work.gradient):
            knots = [work.leg.start, *self.sampled(work), work.leg.end]
            return all(max(linear_losses(work.gradient, *pair, 2, SAMPLE)) <= self.target for pair in pairwise(knots))

    def knot(self, work: Bent) -> Weights:
        """The start: no single point of a curve is the one that the search stands on."""
        return clone(work.leg.start, "cpu")

    def closing(self, work: Bent, state: TrainState) -> list[Weights]:
        """The whole curve."""
        return [*self.sampled(work), work.leg.end]

    def save(self, work: Bent) -> dict[str, Tensor]:
        """The control points and the optimizer's tensors."""
        points = {f"point.{i}.{k}": t.detach() for i, p in enumerate(work.points) for k, t in p.items()}
        return {**points, **optimizer_tensors(work.optimizer)}

    @torch.no_grad()
    def load(self, work: Bent, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        for i, point in enumerate(work.points):
            for k, t in point.items():
                t.copy_(tensors[f"point.{i}.{k}"])
        load_optimizer(work.optimizer, tensors)

    def state_from(self, values: Mapping[str, Any]) -> TrainState:
        """Inverse of ``dataclasses.asdict``."""
        return TrainState(**values)


def place(gradient: Gradient, spread: bool) -> float:
    """Where on the curve this gradient step is taken: uniform in (0, 1), by the seed and the number of the step."""
    if spread:
        first = torch.rand((), generator=generator("cpu", gradient.seed, "place"))
        return (float(first) + gradient.steps * 0.6180339887498949) % 1.0
    return float(torch.rand((), generator=generator("cpu", gradient.seed, gradient.steps, "place")))


def projected(tensor: Tensor, target: float) -> Tensor:
    """`sphere.project` with its graph: the same mean, and variance ``target``."""
    centred = tensor - tensor.mean()
    variance = centred.square().mean()
    return tensor.mean() + centred * (target / variance.clamp_min(torch.finfo(tensor.dtype).tiny)).sqrt()


def even_knots(path: Path, count: int) -> list[Weights]:
    """So many inner points of a path, evenly spaced by arc length: what polishing begins from."""
    return [path.coordinates((i + 1) / (count + 1)) for i in range(count)]
