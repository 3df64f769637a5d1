"""Evaluation of one point: BatchNorm statistics re-estimated, then eval mode, dropout off, data unaugmented."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.geometry.weights import Weights, assign, buffers, clone
from llpf_plugin.records import Row
from llpf_plugin.tasks.data import Data, batch_size
from llpf_plugin.workspace import Workspace

EVAL_BATCH = 512
"""Examples of one evaluation batch."""


@dataclass(frozen=True)
class Score:
    """Mean loss and share of correct answers over a split.

    Attributes:
        loss: the mean over examples.
        accuracy: in [0, 1], or None where the objective counts no correct answers.
    """

    loss: float
    accuracy: float | None


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
    stays off; a model without running statistics costs nothing.

    Args:
        workspace: whose model and task.
        sample: training examples to use, None for all.
    """
    norms = norms_with_statistics(workspace.model)
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    # To these modules a momentum of None means 0, not a cumulative average.
    instance_norms = [m for m in norms if isinstance(m, nn.modules.instancenorm._InstanceNorm)]
    workspace.model.eval()
    for m in norms:
        m.reset_running_stats()  # type: ignore[operator]
        m.momentum = None  # type: ignore[assignment]
        m.train()
    seen = 0
    try:
        for batch in workspace.task.train.batches(EVAL_BATCH, sample):
            if batch_size(batch) > 1:
                seen += 1
                for m in instance_norms:
                    m.momentum = 1 / seen
                with workspace.autocast():
                    workspace.task.score(batch)
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        workspace.model.eval()


@torch.no_grad()
def score(workspace: Workspace, data: Data, sample: int | None = None) -> Score:
    """Loss and accuracy of the model as it stands, in eval mode, over the first ``sample`` examples."""
    workspace.model.eval()
    loss: Tensor | float = 0.0
    correct: Tensor | None = None
    n = 0
    for batch in data.batches(EVAL_BATCH, sample):
        with workspace.autocast():
            batch_loss, batch_correct = workspace.task.score(batch)
        size = batch_size(batch)
        n += size
        loss = loss + batch_loss.double() * size
        if batch_correct is not None:
            correct = batch_correct if correct is None else correct + batch_correct
    return Score(float(loss) / n, None if correct is None else float(correct) / n)


@contextmanager
def borrowed(workspace: Workspace) -> Iterator[None]:
    """Lend the model out: its parameters and buffers are put back afterwards, bit by bit."""
    kept = clone(workspace.model.state_dict())
    try:
        yield
    finally:
        assign(workspace.model, kept)


def evaluate(
    workspace: Workspace, weights: Mapping[str, Tensor], splits: Mapping[str, Data | None], sample: int | None = None
) -> tuple[dict[str, Score | None], Weights]:
    """Scores of one point on several splits, and the buffers that go with it.

    Args:
        workspace: whose model is overwritten with ``weights``.
        weights: coordinates (or a whole state dict) of the point.
        splits: data by name; None stays None.
        sample: training examples to re-estimate with and to score on, None for all.

    Returns:
        Scores by split, and the model's buffers with re-estimated statistics.
    """
    assign(workspace.model, weights)
    reestimate(workspace, sample)
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
        sample: training examples to re-estimate with and to score on, None for all.
    """
    assign(workspace.model, weights)
    reestimate(workspace, sample)
    return score(workspace, workspace.task.train, sample).loss


def measure_point(workspace: Workspace, weights: Weights, sample: int | None, test: bool = False) -> Row:
    """Losses and accuracies of one point on training and validation data, and on test data if asked."""
    task = workspace.task
    splits = {"train": task.train, "validation": task.validation, **({"test": task.test} if test else {})}
    scores, _ = evaluate(workspace, weights, splits, sample)
    values: dict[str, Any] = {}
    for split, score in scores.items():
        if score is not None:
            values |= {split: score.loss, f"{split}_accuracy": score.accuracy}
    return Row(**values)
