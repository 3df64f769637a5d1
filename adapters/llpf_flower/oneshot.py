"""`OneShotLLPF`: clients train apart and send once; the server joins their models along low-loss paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import INFO, WARNING
from typing import Any

import torch
from flwr.app import ArrayRecord
from flwr.common.logger import log
from torch import Tensor

from llpf_flower import history
from llpf_flower.arrays import to_arrays, to_weights
from llpf_flower.mean import conform
from llpf_flower.replies import Reply
from llpf_flower.strategy import LLPFStrategy
from llpf_plugin import find_path
from llpf_plugin.errors import LLPFError
from llpf_plugin.evaluation.point import Score, evaluate, reestimate
from llpf_plugin.geometry.weights import Weights, assign, clone
from llpf_plugin.llpf.settle import SettleRule, settle
from llpf_plugin.merging.tree import Node, balanced
from llpf_plugin.records import Outcome
from llpf_plugin.search.settings import Settings
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Gradient

LEAST = 10
"""Gradient steps for each model, at least."""


@dataclass(frozen=True)
class Joined:
    """What became of the clients' models.

    Attributes:
        weights: the joined model, a state dict on the CPU.
        steps: gradient steps on the server's set, all in all.
        joined: pairs whose path arrived, of `pairs`.
        pairs: pairs that were walked.
        maximum: the largest training loss on any of the paths.
    """

    weights: Weights
    steps: int
    joined: int
    pairs: int
    maximum: float


def join_models(
    models: Sequence[Mapping[str, Tensor]], task: Task, budget: int = 1000, settings: Settings | None = None,
    compute: Compute | None = None,
) -> Joined:  # fmt: skip
    """Join models pairwise along low-loss paths, as a balanced tree: pairs, then pairs of what came out of them.

    Every model is first settled on the server's set, since a client that has never seen some classes has a high loss
    there, and a path is only worth something between two good ends; it stays as it was if that does not lower its
    validation loss. Of each pair goes on what is best on validation data (on training data if there are none): the best
    inner point of the path, or one of its ends. What is left of the budget finetunes the last one, if that makes it
    better there.

    Args:
        models: state dicts of one architecture.
        task: the server's small set.
        budget: gradient steps for everything: a fifth settles, the rest walks and finetunes.
        settings: of the walks; ``budget`` is set here.
        compute: device and precision.

    Raises:
        LLPFError: no model, or a budget of fewer than 10 steps a model.
    """
    if not models:
        raise LLPFError("there is no model to join")
    if budget < LEAST * len(models):
        raise LLPFError(f"budget = {budget} for {len(models)} models: give at least {LEAST} steps a model")
    gradient = Gradient(task, compute)
    root = balanced(len(models))
    each = budget // 5 // len(models)
    going = {}
    for i, weights in enumerate(models):
        settled = _settled(gradient, weights, each)
        going[Node(i, i)] = min(clone(weights, "cpu"), settled, key=lambda w: _score(gradient, w).loss)
    steps, joined, worst = gradient.steps, 0, 0.0
    pairs = list(root.pairs())
    for number, node in enumerate(pairs):
        a, b = (going.pop(half) for half in node.halves)
        share = (budget - steps) // (len(pairs) - number)
        try:
            path = find_path(a, b, task, _with_budget(settings, max(1, share)), compute=compute)
        except LLPFError as error:  # twice the same model, for instance
            log(WARNING, "models %s cannot be joined, the better of them goes on: %s", node.name, error)
            going[node] = _best(gradient, [a, b])
            continue
        arrived = path.outcome in (Outcome.ARRIVED, Outcome.SHORT)
        steps, joined = steps + path.cost["gradient_steps"], joined + arrived
        worst = max(worst, path.quality.maximum)
        log(INFO, "models %s: %s", node.name, path.outcome.value if path.outcome else "")
        inner = [path.quality.pick("best").weights] if arrived else []
        going[node] = _best(gradient, [*inner, a, b])
    weights, left = going[root], max(0, budget - steps) if joined else 0
    if left:
        weights = _best(gradient, [weights, finetune(weights, task, left, compute)])
    return Joined(weights, steps + left, joined, len(pairs), worst)


def _best(gradient: Gradient, models: Sequence[Weights]) -> Weights:
    """The model with the most correct answers, then the lowest loss, on validation data, or on training data."""

    def rank(weights: Weights) -> tuple[float, float]:
        found = _score(gradient, weights)
        return -(found.accuracy or 0.0), found.loss

    return min(models, key=rank)


def _score(gradient: Gradient, weights: Weights) -> Score:
    """On validation data, or on training data."""
    data = gradient.task.validation or gradient.task.train
    found = evaluate(gradient, weights, {"chosen on": data})[0]["chosen on"]
    assert found is not None
    return found


def finetune(weights: Mapping[str, Tensor], task: Task, steps: int, compute: Compute | None = None) -> Weights:
    """The same model after plain SGD for so many steps on the server's set: what one-shot merging is compared with."""
    return _settled(Gradient(task, compute), weights, steps, threshold=float("-inf"))


def _settled(gradient: Gradient, weights: Mapping[str, Tensor], steps: int, threshold: float | None = None) -> Weights:
    """The model after at most so many steps; by default until the loss is low by the task's tolerance."""
    defaults = gradient.task.defaults
    assign(gradient.model, weights)
    low = defaults.tolerance / 2 if threshold is None else threshold
    if steps:
        optimizer = torch.optim.SGD(
            gradient.model.parameters(), defaults.lr, defaults.momentum, nesterov=defaults.momentum > 0
        )
        settle(gradient, optimizer, SettleRule(low, min(5, steps), steps))
    reestimate(gradient)
    return clone(gradient.model.state_dict(), "cpu")


def _with_budget(settings: Settings | None, budget: int) -> Settings:
    return Settings.from_dict({**(settings or Settings()).to_dict(), "budget": budget})


class OneShotLLPF(LLPFStrategy):
    """Clients train apart and send their models once; the server joins them on a small set of its own.

    Run it for one round. The set may be a hundred examples; their validation split, if there is one, picks the point of
    every path.

    Args:
        *arguments: as in `LLPFStrategy`.
        task: the server's set, with the model.
        budget: gradient steps on it, all in all; at least `LEAST` a model are taken.
        settings: of the walks.
        **options: as in `LLPFStrategy`.

    Attributes:
        joined: what the last round came to.
    """

    def __init__(
        self, *arguments: Any, task: Task, budget: int = 1000, settings: Settings | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, task=task, **options)
        self.budget, self.settings = budget, settings
        self.joined: Joined | None = None

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "Gradient steps on the server's set": self.budget}

    def combine(self, row: history.Row, replies: Sequence[Reply]) -> ArrayRecord:
        """The models joined pairwise, those with the most examples first."""
        assert self.task is not None and self.arrays is not None
        ranked = sorted(replies, key=lambda r: -r.weight)
        budget = max(self.budget, LEAST * len(ranked))
        if budget > self.budget:
            log(WARNING, "%d models need %d gradient steps, not %d: they get them", len(ranked), budget, self.budget)
        result = join_models([to_weights(r.arrays) for r in ranked], self.task, budget, self.settings, self.compute)
        self.joined = result
        row.update(steps=result.steps, joined=f"{result.joined} of {result.pairs}", maximum=result.maximum)
        return conform(to_arrays(result.weights), self.arrays, self.rule)
