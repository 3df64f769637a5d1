"""The straight line to a network that computes what B does, with its units placed by gradient steps.

Only the change T of B's units is trained, on the loss of the line from A to T·B (learned matching, Theus et al., 2025,
arXiv 2506.22712; for permutations Peña et al., 2023, arXiv 2212.12042). It is enough to transform one end: a change S
is linear in the weights, so that S·(1 − t)·A + S·t·T·B is S of the line's point, and computes the same. The lines from
S·A to S·T·B are one line for every S.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from llpf_plugin.alignment.groups import Symmetry
from llpf_plugin.alignment.learnable import exact, numbers_of, transformed, worth_learning
from llpf_plugin.alignment.matching import match
from llpf_plugin.alignment.symmetry import symmetry
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates, lerp, tied, ties
from llpf_plugin.methods.base import Plan, Problem, Step, TrainState
from llpf_plugin.methods.baselines import LearnedMatching
from llpf_plugin.methods.trained import allowed, load_optimizer, optimizer_tensors, outcome_of, tick_of
from llpf_plugin.tasks.sampling import generator

MIDDLE = (0.25, 0.75)
"""Where on the line gradients are taken: what is high is its middle."""

BETAS = (0.9, 0.99)
"""Of Adam: a few hundred steps are few for a longer memory of squares."""


def plan(method: LearnedMatching, problem: Problem) -> Plan:
    """One stretch, trained as a whole.

    Raises:
        OrderError: the model cannot be traced.
        TaskError: it is in shards.
        LLPFError: it has no symmetry that is known.
    """
    workspace = problem.workspace
    workspace.check_whole("learned matching")
    found = symmetry(workspace.model, workspace.task.example_inputs())
    if not found.groups:
        raise LLPFError(
            "learned-matching: nothing is known that may be done to the units of this network while it computes the "
            "same, so that there is nothing to learn: take another method"
        )
    steps = problem.steps(method.steps or min(method.usual, problem.steps(None)))
    return Plan(lambda stretch: Learning(method, problem, found, steps))


class Learning:
    """Adam on the numbers that change B's matched units, its learning rate falling as a half cosine.

    The scales of normalizations are absorbed while it trains. With A's scales taken out again at every point, that is
    the line from A to T·B: it computes the same.

    Args:
        method: its settings.
        problem: whose model is lent the line's points; it stays at the start itself.
        found: the symmetry of its model.
        steps: gradient steps.
    """

    closes_with: ClassVar[str] = "curve"

    def __init__(self, method: LearnedMatching, problem: Problem, found: Symmetry, steps: int) -> None:
        self.workspace, self.found, self.steps, self.rate = problem.workspace, found, steps, method.rate
        self.rest = problem.rest

    def init(self, start: Weights, end: Weights) -> TrainState:
        """Match B's weights with A's, from where on its units are changed."""
        model = self.workspace.model
        assign(model, start)
        self.start = {**clone(coordinates(model), "cpu"), **start}  # what the data never reach too
        whole = {**self.start, **self.rest, **end}
        matching = match(self.start, whole, model, self.found, self.workspace.seed)
        self.found = matching.symmetry  # as far as scales can be absorbed
        self._place(matching.weights)
        self.groups = worth_learning(self.found.groups)
        self.numbers = numbers_of(self.groups, self.workspace.device)
        self.optimizer = torch.optim.Adam(self.numbers.values(), self.rate, BETAS)
        return TrainState()

    def _place(self, matched: Weights) -> None:
        """Begin at these weights of B."""
        self.matched = matched
        own = coordinates(self.workspace.model)
        self.a, self.b = (
            {k: w[k].to(p.device, p.dtype) for k, p in own.items()}
            for w in (self.found.absorbed(self.start), self.found.absorbed(matched))
        )

    def step(self, state: TrainState) -> Step:
        """Some gradient steps, each at its own place of the line."""
        losses, rate = [], self._cooled(state.steps)
        for i in range(allowed(self.workspace, self.steps - state.steps)):
            self.optimizer.param_groups[0]["lr"] = self._cooled(state.steps + i)
            b = transformed(self.b, self.groups, self.numbers)
            loss = self.workspace.loss(lerp(self.a, b, self._at()))
            losses.append(loss.detach())
            if not loss.isfinite():  # what was learned before is kept
                break
            self.workspace.backward(loss, self.numbers.values())
            self.optimizer.step()
        done = state.steps + len(losses)
        tick = tick_of(LearnedMatching.name, state.steps, self.steps, losses, rate)
        return Step(TrainState(done), False, tick, outcome_of(done, tick.settled_loss, self.steps))

    def _cooled(self, done: int) -> float:
        return self.rate * 0.5 * (1 + math.cos(math.pi * done / self.steps))

    def _at(self) -> float:
        """Where the next gradient is taken, by the seed and the number of the step."""
        rng, (low, high) = generator("cpu", self.workspace.seed, self.workspace.steps, "place"), MIDDLE
        return low + (high - low) * float(torch.rand((), generator=rng))

    @torch.no_grad()
    def equivalent(self) -> Weights:
        """B with its units as they were learned, buffers included."""
        changed = self.found.change(self.found.absorbed(self.matched), exact(self.groups, self.numbers))
        weights = tied(self.found.restored(changed, self.start), ties(self.workspace.model))
        return clone({name: weights[name] for name in self.matched}, "cpu")

    def knot(self) -> Weights:
        """The start: nothing walks."""
        return {k: self.start[k].clone() for k in self.a}

    def closing(self) -> list[Weights]:
        """Nothing: the line is straight."""
        return []

    def save(self) -> dict[str, Tensor]:
        """What is learned, the optimizer's moments, and B as it was matched."""
        learned = {f"numbers.{name}": t.detach() for name, t in self.numbers.items()}
        return {**learned, **{f"matched.{k}": t for k, t in self.matched.items()}, **optimizer_tensors(self.optimizer)}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `save`."""
        self._place({k: tensors[f"matched.{k}"] for k in self.matched})
        for name, t in self.numbers.items():
            t.copy_(tensors[f"numbers.{name}"])
        load_optimizer(self.optimizer, tensors)
