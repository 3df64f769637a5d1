"""What can be made of two networks that were trained apart, within a number of gradient steps on joint data."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from llpf_plugin import LLPF, Compute, Finetune, Linear, Method, Path, Task, TensorData, align, find_path
from llpf_plugin.evaluation import Goal
from llpf_plugin.geometry import Weights, coordinates, lerp, select
from llpf_plugin.methods import Problem
from llpf_plugin.quality.predictions import predict
from llpf_plugin.tasks import Data
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace

MEMBERS, PLACES = 11, 10
"""Points of a path in its ensemble, both ends included; segments in which a straight line is measured."""

CHANCE = 2.0
"""A little under the loss of guessing among ten classes."""

NO_GOAL = Goal(loss=math.inf, ends=0.0, batch=0.0)
"""Of finetuning, which leads to no path."""

AVERAGE, POINT, TUNED, ENSEMBLE = "average", "best point", "best point, finetuned", f"ensemble of {MEMBERS} points"
"""The second halves of rows' names."""


@dataclass(frozen=True)
class Merge:
    """One network, or several whose probabilities are averaged.

    Attributes:
        members: coordinates of each.
        steps: gradient steps on the joint data that it took.
        t: where a point was chosen on its path.
        statistics: the data that each member's running statistics come from; empty for the joint data.
    """

    members: Sequence[Weights]
    steps: int = 0
    t: float | None = None
    statistics: Sequence[Data] = ()


@dataclass(frozen=True)
class Recipe:
    """How LLPF is used.

    Attributes:
        settle: the share of the steps that settles the ends on the joint data, half of it each.
        align: bring B's units into A's order first.
        tail: the share that the walk leaves over, to finetune the point that was chosen.
        lr: factor on the task's learning rate.
        low: settle every point to the case's low loss, however high that of the ends is, and reject moves above chance.
    """

    settle: float = 0.2
    align: bool = False
    tail: float = 0.0
    lr: float = 1.0
    low: bool = False

    def method(self, low: float) -> LLPF:
        """The walk, where mini-batch losses up to ``low`` are low."""
        return LLPF(threshold=low, reject_above=max(CHANCE, low)) if self.low else LLPF()


@dataclass(frozen=True)
class Case:
    """A pair, and what there is to merge it with.

    Attributes:
        task: the joint training data, and the validation data that choices are made on; no test data.
        a: network A.
        b: network B.
        own: the training data of A and of B.
        everything: all training data.
        steps: gradient steps on the joint data.
        seed: of the network that is trained on everything.
        sample: joint examples that the points of a path are measured on, None for all.
        low: mini-batch loss that is low here.
        lr: factor on the task's learning rate.
        compute: device and precision, of all methods alike.
    """

    task: Task
    a: Weights
    b: Weights
    own: tuple[TensorData, TensorData]
    everything: TensorData
    steps: int
    seed: int
    sample: int | None = None
    low: float = 0.1
    lr: float = 1.0
    compute: Compute = field(default_factory=lambda: Compute("cpu"))

    @cached_property
    def aligned(self) -> Weights:
        """B with its units in A's order."""
        return align(self.a, self.b, self.task).weights

    def coordinates(self, weights: Weights) -> Weights:
        """The parameters of a state dict."""
        return select(weights, list(coordinates(self.task.model)))

    def finetuned(self, weights: Weights, steps: int) -> Weights:
        """A network after this many steps of SGD on the joint data, the learning rate cooled."""
        start = self.coordinates(weights)
        if not steps:
            return start
        defaults, workspace = self.task.defaults, Workspace(self.task, self.compute)
        problem = Problem(workspace, start, start, NO_GOAL, defaults.lr * self.lr, defaults.momentum)
        plan = Finetune(steps=steps).bind(problem)
        solver = plan.solver(plan.stretches[0])
        state, outcome = solver.init(start, start), None
        while outcome is None:
            step = solver.step(state)
            state, outcome = step.state, step.outcome
        return solver.knot()

    def path(self, a: Weights, b: Weights, method: Method, **options: Any) -> Path:
        """A path between two sets of coordinates; running statistics are estimated wherever it is measured."""
        a, b = ({**whole, **some} for whole, some in ((self.a, a), (self.b, b)))
        return find_path(a, b, self.task, method, sample=self.sample, compute=self.compute, **options)


def as_they_are(case: Case) -> dict[str, Merge]:
    """The ends, and both together."""
    a, b = case.coordinates(case.a), case.coordinates(case.b)
    return {
        "A": Merge([a], statistics=case.own[:1]),
        "B": Merge([b], statistics=case.own[1:]),
        "ensemble of the ends": Merge([a, b], statistics=case.own),
    }


def straight(case: Case) -> dict[str, Merge]:
    """The straight line from A to B."""
    return _line(case, case.b, "straight line")


def aligned(case: Case) -> dict[str, Merge]:
    """The straight line from A to the aligned B (Git Re-Basin)."""
    return _line(case, case.aligned, "aligned line")


def _line(case: Case, b: Weights, name: str) -> dict[str, Merge]:
    start, end = case.coordinates(case.a), case.coordinates(b)
    path = case.path(start, end, Linear(), points=PLACES, tolerance=1e9)
    best = path.quality.pick("best")
    return {
        f"{name}, {AVERAGE}": Merge([lerp(start, end, 0.5)], t=0.5),
        f"{name}, {POINT}": Merge([case.coordinates(best.weights)], t=best.t),
    }


def finetuned(case: Case) -> dict[str, Merge]:
    """One end after all the steps."""
    return {"finetune A": Merge([case.finetuned(case.a, case.steps)], case.steps)}


def averaged(case: Case) -> dict[str, Merge]:
    """The average after all the steps."""
    middle = lerp(case.coordinates(case.a), case.coordinates(case.b), 0.5)
    return {"average, then finetune": Merge([case.finetuned(middle, case.steps)], case.steps)}


def averaged_aligned(case: Case) -> dict[str, Merge]:
    """The average with the aligned B after all the steps."""
    middle = lerp(case.coordinates(case.a), case.coordinates(case.aligned), 0.5)
    return {"align, average, then finetune": Merge([case.finetuned(middle, case.steps)], case.steps)}


def both_finetuned(case: Case) -> dict[str, Merge]:
    """Both ends after half the steps each, together."""
    half = case.steps // 2
    members = [case.finetuned(end, half) for end in (case.a, case.b)]
    return {"finetune both, ensemble": Merge(members, 2 * half)}


def llpf(case: Case, recipe: Recipe, name: str = "LLPF") -> dict[str, Merge]:
    """Settle both ends on the joint data, walk from one to the other, choose a point; what is left finetunes it."""
    case, steps = replace(case, lr=recipe.lr), case.steps
    each = int(steps * recipe.settle / 2)
    a, b = (case.finetuned(end, each) for end in (case.a, case.aligned if recipe.align else case.b))
    budget = steps - 2 * each - int(steps * recipe.tail)
    lr = case.task.defaults.lr * case.lr
    path = case.path(a, b, recipe.method(case.low), budget=budget, lr=lr, points=2)
    best = path.quality.pick("best")
    point, walked = case.coordinates(best.weights), 2 * each + path.cost.gradient_steps
    members = [path.coordinates(float(t)) for t in np.linspace(0, 1, MEMBERS)]
    return {
        f"{name}, {POINT}": Merge([point], walked, best.t),
        f"{name}, {TUNED}": Merge([case.finetuned(point, steps - walked)], steps, best.t),
        f"{name}, {ENSEMBLE}": Merge(members, walked),
    }


def ceiling(case: Case) -> dict[str, Merge]:
    """One network trained on all data, from scratch, by the recipe of the ends."""
    weights = train(replace(case.task, train=case.everything), case.seed, case.compute)
    return {"trained on all data": Merge([case.coordinates(weights)], statistics=[case.everything])}


BASELINES: Mapping[str, Callable[[Case], dict[str, Merge]]] = {
    "ends": as_they_are,
    "straight": straight,
    "aligned": aligned,
    "finetune": finetuned,
    "average": averaged,
    "aligned average": averaged_aligned,
    "both": both_finetuned,
    "ceiling": ceiling,
}
"""What LLPF is compared with, a family of rows each, which is run as a whole."""


def scores(case: Case, merge: Merge, data: Mapping[str, TensorData]) -> dict[str, float]:
    """Accuracy and mean negative log likelihood of a merge on every split, probabilities averaged over its members."""
    statistics = merge.statistics or [case.task.train] * len(merge.members)
    spaces = [Workspace(replace(case.task, train=some), case.compute) for some in statistics]
    together = TensorData(torch.cat([d.inputs for d in data.values()]), torch.cat([d.targets for d in data.values()]))
    answers = [predict(space, w, together)[0] for space, w in zip(spaces, merge.members, strict=True)]
    mean = torch.stack(answers).mean(0).split([len(d) for d in data.values()])
    found = {}
    for (split, examples), probabilities in zip(data.items(), mean, strict=True):
        right = probabilities.gather(1, examples.targets.unsqueeze(1))
        found[split] = float((probabilities.argmax(1) == examples.targets).double().mean())
        found[f"{split}_loss"] = float(-right.clamp_min(1e-12).log().mean())
    return found
