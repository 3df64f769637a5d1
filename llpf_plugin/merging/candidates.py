"""Ways from two classifiers with different classes to one that knows all, each within the same gradient steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from llpf_plugin.alignment.matching import align
from llpf_plugin.errors import LLPFError
from llpf_plugin.evaluation.goal import Goal
from llpf_plugin.geometry.weights import Weights, assign, lerp
from llpf_plugin.merging.head import Head
from llpf_plugin.methods.base import Method, Problem
from llpf_plugin.methods.baselines import Finetune
from llpf_plugin.records import Outcome
from llpf_plugin.search.find import Search
from llpf_plugin.search.options import SearchOptions
from llpf_plugin.tasks.batches import Batch, class_targets
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Workspace

WALK = 0.6
"""The share of the steps that the search of a path may take; what is left finetunes its point."""

NO_GOAL = Goal(loss=math.inf, ends=0.0, batch=0.0)
"""Of finetuning, which leads to no path."""


@dataclass(frozen=True)
class Ends:
    """Two classifiers in the form of one that knows the classes of both.

    Attributes:
        a: A, with rows of zeros for what it does not know.
        b: B, likewise, its units in A's order where they were aligned.
        head: of the common form.
        places: the classes that A knows, and those that B knows.
        task: with a row of the head for every class.
        method: by which a path is searched.
        options: of searches, and of finetuning as far as it has them.
        steps: gradient steps of every way.
        pick: the point of the path.
        compute: device and precision.
    """

    a: Weights
    b: Weights
    head: Head
    places: tuple[Sequence[int], Sequence[int]]
    task: Task
    method: Method
    options: SearchOptions
    steps: int
    pick: str | float
    compute: Compute

    def filled(self) -> tuple[Weights, Weights]:
        """Both ends, with the other's rows of the head for the classes that they do not know."""
        return self.head.filled(self.a, self.b, self.places[0]), self.head.filled(self.b, self.a, self.places[1])

    def aligned(self) -> "Ends":
        """The same, B's units in A's order.

        Raises:
            OrderError: the model cannot be traced.
        """
        return replace(self, b=align(self.a, self.b, self.task.to("cpu")).weights)


@dataclass(frozen=True)
class Found:
    """Where a way led.

    Attributes:
        weights: a complete state dict; running statistics are still to be estimated.
        steps: gradient steps that it took.
        t: the place of the path's point that was finetuned, None without a path.
    """

    weights: Weights
    steps: int
    t: float | None = None


def finetuned(ends: Ends, start: Weights, steps: int) -> Weights:
    """A model after some steps of SGD on the task's training data, the learning rate cooled.

    Raises:
        LLPFError: the loss became infinite.
    """
    if not steps:
        return start
    options, defaults = ends.options, ends.task.defaults
    workspace = Workspace(ends.task, ends.compute, options.seed, options.batch_size)
    assign(workspace.model, start)
    momentum = defaults.momentum if options.momentum is None else options.momentum
    problem = Problem(workspace, start, start, NO_GOAL, options.lr or defaults.lr, momentum)
    plan = Finetune(steps=steps).bind(problem)
    solver = plan.solver(plan.stretches[0])
    state, outcome = solver.init(start, start), None
    while outcome is None:
        step = solver.step(state)
        state, outcome = step.state, step.outcome
    if outcome is Outcome.DIVERGED:
        raise LLPFError(f"finetuning diverged at a learning rate of {problem.lr:g}: give a lower --lr")
    return {**start, **solver.knot()}


def mean(ends: Ends) -> Found:
    """The mean of both bodies; rows of the head that one side knows are its own."""
    return Found(lerp(*ends.filled(), 0.5), 0)


def mean_finetuned(ends: Ends) -> Found:
    """The mean, finetuned."""
    return Found(finetuned(ends, mean(ends).weights, ends.steps), ends.steps)


def masked_task(ends: Ends) -> Task:
    """The task with masked losses: an example is told apart only from classes that an end which knows its own knows.

    So each end has the loss on its own examples that it was trained to. Without masks its loss is higher there too,
    since it answers with classes that it has never seen, and a path is content with what is as low as its ends.
    """
    head, sides = ends.head, [ends.head.known(places) for places in ends.places]
    both = torch.stack([torch.stack([side for side in sides if side[i]]).any(0) for i in range(head.classes)])

    def objective(model: nn.Module, batch: Batch) -> Tensor | tuple[Tensor, Tensor]:
        targets = class_targets(batch)
        assert targets is not None  # the ends have been judged on these data
        with head.masked(model, both[targets.cpu()]):
            return ends.task.objective(model, batch)

    return replace(ends.task, objective=objective)


def path_point_finetuned(ends: Ends) -> Found:
    """The best point of a path between the ends, searched with masked losses, then finetuned."""
    a, b = ends.filled()
    options = replace(ends.options, budget=max(1, int(WALK * ends.steps)))
    quality = Search(a, b, masked_task(ends), ends.method, options, ends.compute).run()
    picked, spent = quality.pick(ends.pick), quality.path.cost.gradient_steps or 0
    return Found(finetuned(ends, picked.weights, max(0, ends.steps - spent)), max(spent, ends.steps), picked.t)


def a_finetuned(ends: Ends) -> Found:
    """A alone, finetuned."""
    return Found(finetuned(ends, ends.a, ends.steps), ends.steps)


def b_finetuned(ends: Ends) -> Found:
    """B alone, finetuned."""
    return Found(finetuned(ends, ends.b, ends.steps), ends.steps)


WAYS: Mapping[str, Callable[[Ends], Found]] = {
    "mean": mean,
    "mean, finetuned": mean_finetuned,
    "path point, finetuned": path_point_finetuned,
    "A, finetuned": a_finetuned,
    "B, finetuned": b_finetuned,
}
"""By name; each is run on the same ends, and sees the same batches."""
