"""Evaluation of one point: BatchNorm statistics re-estimated, then eval mode, dropout off, data unaugmented."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from llpf_plugin.evaluation.answers import Answer, Score, mean
from llpf_plugin.evaluation.pooled import pooled
from llpf_plugin.geometry.weights import Weights, assign, buffers, clone, state
from llpf_plugin.ranks.group import current
from llpf_plugin.records import Row
from llpf_plugin.tasks.batches import Data, Examples, batch_size
from llpf_plugin.workspace import Workspace

STATISTICS = 2048
"""Training examples that running statistics are re-estimated on where many points are measured."""


def norms_with_statistics(model: nn.Module) -> list[nn.Module]:
    """The modules that keep running statistics of their inputs (BatchNorm, InstanceNorm with tracking)."""
    return [
        m
        for m in model.modules()
        if getattr(m, "track_running_stats", False) and getattr(m, "running_mean", None) is not None
    ]


@torch.no_grad()
def reestimate(workspace: Workspace, sample: int | None = None) -> None:
    """Replace the running statistics by those of the training data (cumulative average), in place.

    As ``torch.optim.swa_utils.update_bn`` does, but with only the normalization modules in train mode, so that dropout
    stays off; a model without running statistics costs nothing. The batches are those of shuffled data.

    Args:
        workspace: whose model and task.
        sample: training examples to use, None for all.
    """
    with _statistics(workspace.model) as norms:
        if norms:
            _passed(workspace, workspace.examples(workspace.task.train, sample), norms=norms)


@torch.no_grad()
def score(workspace: Workspace, data: Data, sample: int | None = None) -> Score:
    """Loss and accuracy of the model as it stands, in eval mode, over a sample of a split (None: all of it)."""
    workspace.model.eval()
    return mean(_passed(workspace, workspace.examples(data, sample)))


@torch.no_grad()
def glance(workspace: Workspace, weights: Weights, sample: int, batch: int) -> list[Answer]:
    """The training loss at a point by batches of a sample, in one pass that re-estimates the statistics as well.

    Each batch is normalized by its own statistics, so that its loss is near that of `score`, not equal to it.

    Args:
        workspace: whose model is overwritten with ``weights``.
        weights: coordinates of the point.
        sample: training examples.
        batch: examples of one batch.
    """
    assign(workspace.model, weights)
    with _statistics(workspace.model) as norms:
        return _passed(workspace, workspace.examples(workspace.task.train, sample), batch, norms)


def _passed(
    workspace: Workspace, examples: Examples, batch: int | None = None, norms: Sequence[nn.Module] = ()
) -> list[Answer]:
    """Examples sent through the model as it stands; ``norms`` are in train mode, where a batch has two examples.

    Of several ranks each takes every so-many-th batch; the answers and the statistics are those of all.
    """
    answers, ranks, last = dict[int, Answer](), current(), -1
    for i, own in enumerate(examples.batches(batch or workspace.eval_batch)):
        size, last = batch_size(own), i
        if norms and size == 1:
            continue
        if i % ranks.size != ranks.rank % ranks.size:
            workspace.clock.passed(size)  # through another rank's copy
            continue
        for m in norms:
            if isinstance(m, _InstanceNorm):  # to it a momentum of None means 0, not a cumulative average
                m.momentum = 1 / (len(answers) + 1)
        answers[i] = Answer.of(size, *workspace.score(own))
    if workspace.compute.shard and 0 <= last % ranks.size < ranks.rank % ranks.size:
        workspace.accompany(own)
    return pooled(answers, norms)


@contextmanager
def _statistics(model: nn.Module) -> Iterator[list[nn.Module]]:
    """Normalizations with running statistics in train mode, those set back and averaged over the batches to come."""
    norms = norms_with_statistics(model)
    momenta = [m.momentum for m in norms]
    model.eval()
    for m in norms:
        m.reset_running_stats()  # type: ignore[operator]
        m.momentum = None  # type: ignore[assignment]
        m.train()
    try:
        yield norms
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        model.eval()


@contextmanager
def borrowed(workspace: Workspace) -> Iterator[None]:
    """Lend the model out: its parameters and buffers are put back afterwards, bit by bit."""
    kept = clone(state(workspace.model))
    try:
        yield
    finally:
        assign(workspace.model, kept)


def evaluate(
    workspace: Workspace, weights: Mapping[str, Tensor], splits: Mapping[str, Data | None], sample: int | None = None,
    statistics: int | None = None,
) -> tuple[dict[str, Score | None], Weights]:  # fmt: skip
    """Scores of one point on several splits, and the buffers that go with it.

    Args:
        workspace: whose model is overwritten with ``weights``.
        weights: coordinates (or a whole state dict) of the point.
        splits: data by name; None stays None.
        sample: training examples to score on, None for all.
        statistics: training examples to re-estimate running statistics with, None for as many as ``sample``.

    Returns:
        Scores by split, and the model's buffers with re-estimated statistics.
    """
    assign(workspace.model, weights)
    reestimate(workspace, statistics or sample)
    scores = {
        name: None if data is None else score(workspace, data, sample if name == "train" else None)
        for name, data in splits.items()
    }
    return scores, clone(buffers(workspace.model))


def train_loss(workspace: Workspace, weights: Mapping[str, Tensor], sample: int | None = None) -> float:
    """The training loss of one point.

    Args:
        workspace: whose model is overwritten with ``weights``.
        weights: coordinates (or a whole state dict) of the point.
        sample: training examples to score on, None for all.
    """
    assign(workspace.model, weights)
    reestimate(workspace, STATISTICS if sample is None else min(STATISTICS, sample))
    return score(workspace, workspace.task.train, sample).loss


def measure_point(
    workspace: Workspace, weights: Mapping[str, Tensor], sample: int | None,
    splits: Sequence[str] = ("train", "validation"), statistics: int | None = None,
) -> Row:  # fmt: skip
    """Losses and accuracies of one point.

    Args:
        workspace: whose model is overwritten with ``weights``.
        weights: coordinates (or a whole state dict) of the point.
        sample: training examples to score on, None for all.
        splits: what to score.
        statistics: training examples to re-estimate running statistics with, None for as many as ``sample``.
    """
    data = {split: getattr(workspace.task, split) for split in splits}
    scores, _ = evaluate(workspace, weights, data, sample, statistics)
    return row_of({split: score for split, score in scores.items() if score is not None})


def measure_as_it_is(workspace: Workspace, sample: int | None) -> Row:
    """The model as it stands, running statistics included, on validation and test data; on training data without."""
    task = workspace.task
    held_out = {"validation": task.validation, "test": task.test}
    scores = {name: score(workspace, data) for name, data in held_out.items() if data is not None}
    return row_of(scores or {"train": score(workspace, task.train, sample)})


def row_of(scores: Mapping[str, Score], **more: Any) -> Row:
    """Scores by split as a row."""
    values: dict[str, Any] = dict(more)
    for split, score in scores.items():
        values |= {split: score.loss, f"{split}_accuracy": score.accuracy}
    return Row(**values)
