"""Evaluation of one point: BatchNorm statistics re-estimated, then eval mode, dropout off, data unaugmented."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llpf_plugin.geometry.weights import Weights, assign, buffers, clone
from llpf_plugin.tasks.data import Data, batch_size
from llpf_plugin.workspace import Gradient

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
def reestimate(gradient: Gradient, limit: int | None = None) -> None:
    """Replace the running statistics by those of the training data (cumulative average), in place.

    As ``torch.optim.swa_utils.update_bn`` does, but with only the normalization modules in train mode, so that dropout
    stays off; a model without running statistics costs nothing.

    Args:
        gradient: whose model and task.
        limit: training examples to use, None for all.
    """
    norms = norms_with_statistics(gradient.model)
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    # To these modules a momentum of None means 0, not a cumulative average.
    instance_norms = [m for m in norms if isinstance(m, nn.modules.instancenorm._InstanceNorm)]
    gradient.model.eval()
    for m in norms:
        m.reset_running_stats()  # type: ignore[operator]
        m.momentum = None  # type: ignore[assignment]
        m.train()
    seen = 0
    try:
        for batch in gradient.task.train.batches(EVAL_BATCH, limit):
            if batch_size(batch) > 1:
                seen += 1
                for m in instance_norms:
                    m.momentum = 1 / seen
                with gradient.autocast():
                    gradient.task.score(batch)
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        gradient.model.eval()


@torch.no_grad()
def score(gradient: Gradient, data: Data, limit: int | None = None) -> Score:
    """Loss and accuracy of the model as it stands, in eval mode, over the first ``limit`` examples."""
    gradient.model.eval()
    loss: Tensor | float = 0.0
    correct: Tensor | None = None
    n = 0
    for batch in data.batches(EVAL_BATCH, limit):
        with gradient.autocast():
            batch_loss, batch_correct = gradient.task.score(batch)
        size = batch_size(batch)
        n += size
        loss = loss + batch_loss.double() * size
        if batch_correct is not None:
            correct = batch_correct if correct is None else correct + batch_correct
    return Score(float(loss) / n, None if correct is None else float(correct) / n)


@contextmanager
def borrowed(gradient: Gradient) -> Iterator[None]:
    """Lend the model out: its parameters and buffers are put back afterwards, bit by bit."""
    kept = clone(gradient.model.state_dict())
    try:
        yield
    finally:
        assign(gradient.model, kept)


def evaluate(
    gradient: Gradient, weights: Mapping[str, Tensor], splits: Mapping[str, Data | None], limit: int | None = None
) -> tuple[dict[str, Score | None], Weights]:
    """Scores of one point on several splits, and the buffers that go with it.

    Args:
        gradient: whose model is overwritten with ``weights``.
        weights: coordinates (or a whole state dict) of the point.
        splits: data by name; None stays None.
        limit: examples of the training data to re-estimate with and to score on, None for all.

    Returns:
        Scores by split, and the model's buffers with re-estimated statistics.
    """
    assign(gradient.model, weights)
    reestimate(gradient, limit)
    scores = {
        name: None if data is None else score(gradient, data, limit if name == "train" else None)
        for name, data in splits.items()
    }
    return scores, clone(buffers(gradient.model))
