"""Ways from two classifiers with different classes to one that knows all, each within the same gradient steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from llpf_plugin.alignment.matching import align
from llpf_plugin.errors import LLPFError
from llpf_plugin.evaluation.goal import Goal
from llpf_plugin.geometry.weights import Weights, assign, lerp
from llpf_plugin.merging.head import Head
from llpf_plugin.merging.pair import Request
from llpf_plugin.methods.base import Problem
from llpf_plugin.methods.baselines import Finetune
from llpf_plugin.records import Outcome
from llpf_plugin.search.find import find_path
from llpf_plugin.workspace import Workspace

SETTLE, WALK = 0.2, 0.4
"""Shares of the steps that finetune each end of a path, and that the search may take; the rest finetunes its point."""

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
        request: task, method, options, compute and pick; ``request.options.budget`` is what each way may take.
    """

    a: Weights
    b: Weights
    head: Head
    places: tuple[Sequence[int], Sequence[int]]
    request: Request

    @property
    def steps(self) -> int:
        """Gradient steps of every way."""
        assert self.request.options.budget is not None
        return self.request.options.budget

    def filled(self) -> tuple[Weights, Weights]:
        """Both ends, with the other's rows of the head for the classes that they do not know."""
        return self.head.filled(self.a, self.b, self.places[0]), self.head.filled(self.b, self.a, self.places[1])

    def aligned(self) -> "Ends":
        """The same, B's units in A's order.

        Raises:
            OrderError: the model cannot be traced.
        """
        return replace(self, b=align(self.a, self.b, self.request.task.to("cpu")).weights)


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


def finetuned(request: Request, start: Weights, steps: int) -> Weights:
    """A model after some steps of SGD on the task's training data, the learning rate cooled.

    Raises:
        LLPFError: the loss became infinite.
    """
    if not steps:
        return start
    options, defaults = request.options, request.task.defaults
    workspace = Workspace(request.task, request.compute, options.seed, options.batch_size)
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
    return Found(finetuned(ends.request, mean(ends).weights, ends.steps), ends.steps)


def path_point_finetuned(ends: Ends) -> Found:
    """The best point of a path between the ends, all of them finetuned for a part of the steps."""
    request, settle = ends.request, int(SETTLE * ends.steps)
    a, b = (finetuned(request, end, settle) for end in ends.filled())
    options = replace(request.options, budget=max(1, int(WALK * ends.steps)))
    path = find_path(a, b, request.task, request.method, compute=request.compute, **options.to_json())
    picked, spent = path.quality.pick(request.pick), 2 * settle + (path.cost.gradient_steps or 0)
    return Found(finetuned(request, picked.weights, max(0, ends.steps - spent)), max(spent, ends.steps), picked.t)


def a_finetuned(ends: Ends) -> Found:
    """A alone, finetuned."""
    return Found(finetuned(ends.request, ends.a, ends.steps), ends.steps)


def b_finetuned(ends: Ends) -> Found:
    """B alone, finetuned."""
    return Found(finetuned(ends.request, ends.b, ends.steps), ends.steps)


WAYS: Mapping[str, Callable[[Ends], Found]] = {
    "mean": mean,
    "mean, finetuned": mean_finetuned,
    "path point, finetuned": path_point_finetuned,
    "A, finetuned": a_finetuned,
    "B, finetuned": b_finetuned,
}
"""By name; each is run on the same ends, and sees the same batches."""
