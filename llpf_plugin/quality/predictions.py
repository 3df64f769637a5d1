"""Predictions of a point: class scores or probabilities, and targets, whatever the objective does with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from llpf_plugin.errors import MetricError
from llpf_plugin.evaluation.point import reestimate
from llpf_plugin.geometry.weights import Weights, assign
from llpf_plugin.tasks.batches import Data, class_targets
from llpf_plugin.workspace import Workspace


@contextmanager
def listening(workspace: Workspace) -> Iterator[list[Any]]:
    """A list that collects what the model returns whenever the objective calls it."""
    heard: list[Any] = []
    handle = workspace.model.register_forward_hook(lambda module, inputs, output: heard.append(output))
    try:
        yield heard
    finally:
        handle.remove()


def predict(workspace: Workspace, weights: Weights, data: Data, sample: int | None = None) -> tuple[Tensor, Tensor]:
    """Class probabilities ``[n, classes]`` and integer targets ``[n]`` of a point; else as `class_scores`."""
    scores, targets = class_scores(workspace, weights, data, sample)
    return scores.softmax(1), targets


@torch.no_grad()
def class_scores(
    workspace: Workspace, weights: Weights, data: Data, sample: int | None = None
) -> tuple[Tensor, Tensor]:
    """Logits ``[n, classes]`` (float64) and integer targets ``[n]`` of a point, on the CPU.

    The running statistics are re-estimated; the model runs in eval mode.

    Args:
        workspace: whose model is overwritten with ``weights``.
        weights: coordinates of the point.
        data: a split.
        sample: examples to re-estimate with and to predict, None for all.

    Raises:
        MetricError: a batch has no integer targets, or the model gives no scores of shape ``[n, classes]``.
    """
    assign(workspace.model, weights)
    reestimate(workspace, sample)
    workspace.model.eval()
    scores, targets = [], []
    examples = data if sample is None else workspace.examples(data, sample)  # all in their own order
    for batch in examples.batches(workspace.eval_batch):
        with listening(workspace) as heard:
            workspace.score(batch)
        wanted, given = _targets(batch), heard[-1] if heard else None
        if not (isinstance(given, Tensor) and given.dim() == 2 and given.is_floating_point() and given.shape[1] > 1):
            shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise MetricError(f"the model gives no scores of shape [n, classes] but {shape}")
        scores.append(given.double().cpu())
        targets.append(wanted.cpu())
    return torch.cat(scores), torch.cat(targets)


def _targets(batch: Any) -> Tensor:
    """The integer targets ``[n]`` of ``(inputs, targets)``."""
    if (targets := class_targets(batch)) is None:
        raise MetricError("a batch is not (inputs, integer class targets)")
    return targets
