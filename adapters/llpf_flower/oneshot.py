"""`OneShotLLPF`: clients train apart and send once; the server joins their models along low-loss paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord
from flwr.common.logger import log
from torch import Tensor

from llpf_flower import history
from llpf_flower.arrays import to_arrays, to_weights
from llpf_flower.replies import Reply
from llpf_flower.strategy import FIRST_MODEL, LLPFStrategy
from llpf_plugin import merge
from llpf_plugin.checkpoint import fingerprint
from llpf_plugin.errors import LLPFError
from llpf_plugin.evaluation import Score, evaluate, reestimate
from llpf_plugin.geometry import Weights, assign, clone
from llpf_plugin.llpf import SettleRule, settle
from llpf_plugin.merging import Align, Pair, Watch
from llpf_plugin.methods import Method
from llpf_plugin.quality import Quality
from llpf_plugin.tasks import Task
from llpf_plugin.workspace import Compute, Workspace

LEAST = 10
"""Gradient steps for each model, at least."""


@dataclass(frozen=True)
class Joined:
    """What became of the clients' models.

    Attributes:
        weights: the joined model, a state dict on the CPU.
        steps: gradient steps on the server's set, all in all.
        joined: pairs that are connected, of `pairs`.
        pairs: pairs that were searched.
        maximum: the largest training loss on any of the paths.
    """

    weights: Weights
    steps: int
    joined: int
    pairs: int
    maximum: float


def join_models(
    models: Sequence[Mapping[str, Tensor]], task: Task, budget: int = 1000, method: Method | str = "llpf",
    compute: Compute | None = None, align: Align = "auto", **search: Any,
) -> Joined:  # fmt: skip
    """Join models along low-loss paths, as `llpf_plugin.merge` does, on a small set.

    Every model is first settled on the set, since a client that has never seen some classes has a high loss there, and
    a path is only worth something between two good ends; it stays as it was if that does not lower its validation
    loss. From each pair the best advances: a point of the path, or one of its ends. What is left of the budget
    finetunes the last one, if that makes it better. All of this is judged on validation data, or on training data if
    there are none.

    Args:
        models: state dicts of one architecture.
        task: the server's small set.
        budget: gradient steps for everything: a fifth settles, the rest walks and finetunes.
        method: how paths are found.
        compute: device and precision.
        align: whether the second model of a pair is first brought into the first one's order, as in `merge`.
        **search: what is asked of every search, such as ``max_loss``; see `llpf_plugin.merge`.

    Raises:
        LLPFError: no model, or a budget of fewer than 10 steps a model.
    """
    if not models:
        raise LLPFError("there is no model to join")
    if budget < LEAST * len(models):
        raise LLPFError(f"budget = {budget} for {len(models)} models: give at least {LEAST} steps a model")
    workspace, models = Workspace(task, compute), _distinct(models)
    ready = [_better_settled(workspace, weights, budget // 5 // len(models)) for weights in models]
    weights, steps = ready[0], workspace.steps
    if len(ready) == 1:
        return Joined(weights, steps, 0, 0, 0.0)
    found = merge(
        ready, task, method, advance="best", total_budget=budget - steps, compute=compute, align=align, watch=_Log(),
        **search,
    )  # fmt: skip
    weights, steps = dict(found.weights), steps + found.gradient_steps
    if refused := len(ready) - 1 - len(found.joins):
        log(WARNING, "%d pairs could not be searched; the better model of each advanced", refused)
    joined = sum(join.connected for join in found.joins)
    left = max(0, budget - steps) if joined else 0
    if left:
        weights = min([weights, finetune(weights, task, left, compute)], key=lambda w: _rank(workspace, w))
    worst = max((join.maximum for join in found.joins), default=0.0)
    return Joined(weights, steps + left, joined, len(ready) - 1, worst)


class _Log(Watch):
    """Says what became of the frame and of each pair."""

    def on_gather(self, sentence: str) -> None:
        log(INFO, "%s", sentence)

    def on_open(self, pair: Pair) -> None:
        if pair.alignment is not None:
            log(INFO, "models %s: %s", pair.name, pair.alignment.sentence)

    def on_close(self, pair: Pair, quality: Quality, picked: Any, merged: Path | None) -> None:
        outcome = quality.path.outcome
        log(INFO, "models %s: %s", pair.name, outcome.value if outcome else "")


def _distinct(models: Sequence[Mapping[str, Tensor]]) -> list[Mapping[str, Tensor]]:
    """The models without those that are there already: between equal ones there is no path."""
    distinct: dict[str, Mapping[str, Tensor]] = {}
    for weights in models:
        distinct.setdefault(fingerprint(weights), weights)
    if len(distinct) < len(models):
        log(WARNING, "of %d models only %d are different: these are joined", len(models), len(distinct))
    return list(distinct.values())


def _score(workspace: Workspace, weights: Weights) -> Score:
    """On validation data, or on training data."""
    data = workspace.task.validation or workspace.task.train
    found = evaluate(workspace, weights, {"chosen on": data})[0]["chosen on"]
    assert found is not None
    return found


def _rank(workspace: Workspace, weights: Weights) -> tuple[float, float]:
    """More correct answers first, then the lower loss."""
    found = _score(workspace, weights)
    return -(found.accuracy or 0.0), found.loss


def finetune(weights: Mapping[str, Tensor], task: Task, steps: int, compute: Compute | None = None) -> Weights:
    """The same model after plain SGD for so many steps on the server's set: what one-shot merging is compared with."""
    return _settled(Workspace(task, compute), weights, steps, threshold=float("-inf"))


def _better_settled(workspace: Workspace, weights: Mapping[str, Tensor], steps: int) -> Weights:
    """The model after settling, or as it was where that does not lower its loss."""
    low = workspace.task.defaults.tolerance / 2
    settled = _settled(workspace, weights, steps, low)
    return min([clone(weights, "cpu"), settled], key=lambda w: _score(workspace, w).loss)


def _settled(workspace: Workspace, weights: Mapping[str, Tensor], steps: int, threshold: float) -> Weights:
    """The model after at most so many steps."""
    defaults = workspace.task.defaults
    assign(workspace.model, weights)
    if steps:
        optimizer = torch.optim.SGD(
            workspace.model.parameters(), defaults.lr, defaults.momentum, nesterov=defaults.momentum > 0
        )
        settle(workspace, optimizer, SettleRule(threshold, min(5, steps), steps))
    reestimate(workspace)
    return clone(workspace.model.state_dict(), "cpu")


class OneShotLLPF(LLPFStrategy):
    """Clients train apart and send their models once; the server joins them on a small set of its own.

    Run it for one round. The set may be a hundred examples; their validation split, if there is one, picks the point of
    every path.

    Args:
        *arguments: as in `LLPFStrategy`.
        task: the server's set, with the model.
        budget: gradient steps on it, all in all; at least `LEAST` a model are taken.
        method: how paths are found.
        align: as in `join_models`.
        search: what else is asked of every search, such as ``max_loss``.
        **options: as in `LLPFStrategy`.

    Attributes:
        joined: what the last round came to.
    """

    def __init__(
        self, *arguments: Any, task: Task, budget: int = 1000, method: Method | str = "llpf",
        align: Align = "auto", search: Mapping[str, Any] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(*arguments, task=task, **options)
        self.budget, self.method, self.align, self.search = budget, method, align, dict(search or {})
        self.joined: Joined | None = None

    def _settings(self) -> dict[str, Any]:
        shared = {name: value for name, value in super()._settings().items() if name != FIRST_MODEL}  # they are joined
        return {**shared, "Gradient steps on the server's set": self.budget}

    def combine(self, row: history.Row, replies: Sequence[Reply]) -> ArrayRecord:
        """The models joined pairwise, those with the most examples first."""
        assert self.task is not None and self.arrays is not None
        ranked = sorted(replies, key=lambda r: -r.weight)
        budget = max(self.budget, LEAST * len(ranked))
        if budget > self.budget:
            log(WARNING, "%d models need %d gradient steps, not %d: they get them", len(ranked), budget, self.budget)
        models = [to_weights(r.arrays) for r in ranked]
        self.joined = found = join_models(
            models, self.task, budget, self.method, self.compute, self.align, **self.search
        )  # fmt: skip
        row.update(steps=found.steps, joined=f"{found.joined} of {found.pairs}", maximum=found.maximum)
        return self.rule.conform(to_arrays(found.weights), self.arrays)
