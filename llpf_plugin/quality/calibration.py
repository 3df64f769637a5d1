"""The barrier with a softmax temperature at every point: what is left of it once scores are neither too low nor high.

The scores of an average lie closer together than its ends', so that its loss is high where its answers are right. A
temperature changes the loss and no answer.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor

from llpf_plugin.errors import MetricError
from llpf_plugin.evaluation.survey import Along, Place
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.quality.metrics import Metric, highest
from llpf_plugin.quality.predictions import class_scores
from llpf_plugin.quality.verdict import METRIC_SPLITS, Quality
from llpf_plugin.tasks.batches import Data
from llpf_plugin.workspace import Workspace

LOWEST, HIGHEST = 1e-3, 1e3
"""Temperatures that are looked at: with all answers right the best one is 0, with scores that say nothing infinite."""

PRECISION = 1e-5
"""Of a temperature, relative to itself."""


@dataclass(frozen=True)
class Calibrated:
    """The cross-entropy of one point with its best temperature.

    Attributes:
        loss: with that temperature.
        temperature: in [1e-3, 1e3].
        plain: the cross-entropy with temperature 1; NaN, as the other two, where a score is not finite.
    """

    loss: float
    temperature: float
    plain: float


def calibrate(scores: Tensor, targets: Tensor) -> Calibrated:
    """The temperature T that minimises the mean cross-entropy of ``softmax(scores / T)`` (Guo et al., 2017).

    The loss is convex in 1/T; its slope there is the mean of ``Σ softmax(z/T)·z − z_target``, whose root is bracketed.

    Args:
        scores: logits, or log-probabilities, ``[n, classes]``.
        targets: integers ``[n]``.
    """
    z, y = scores.double(), targets.long()
    if not z.isfinite().all():
        return Calibrated(math.nan, math.nan, math.nan)
    own = z.gather(1, y[:, None]).squeeze(1)

    def slope(log: float) -> float:
        return float(((z * math.exp(log)).softmax(1).mul(z).sum(1) - own).mean())

    def loss(temperature: float) -> float:
        return float(F.cross_entropy(z / temperature, y))

    low, high = -math.log(HIGHEST), -math.log(LOWEST)
    if slope(low) >= 0:
        best = HIGHEST
    elif slope(high) <= 0:
        best = LOWEST
    else:
        best = math.exp(-brentq(slope, low, high, xtol=PRECISION))
    best = min(best, 1.0, key=loss)  # within the precision, 1 may be the better one
    return Calibrated(loss(best), best, loss(1.0))


def calibrated_losses(
    workspace: Workspace, points: Iterable[Weights], data: Data, sample: int | None = None
) -> list[Calibrated]:
    """Some points, each with the temperature that is best on the very examples that it is measured on.

    Args:
        workspace: whose model is overwritten.
        points: coordinates of each.
        data: a split.
        sample: examples, None for all.

    Raises:
        MetricError: a batch has no integer targets, or the model gives no scores of shape ``[n, classes]``.
    """
    return [calibrate(*class_scores(workspace, weights, data, sample)) for weights in points]


def calibrated_barrier(quality: Quality) -> dict[str, Metric]:
    """``max L(t) − ½(L(0) + L(1))`` by split, every L with the temperature that is best at its point, ends included.

    Ito et al. (2025, arXiv 2510.08023) find that without permutations wide networks are linearly connected "when using
    a suitable softmax temperature calibration". That the temperature is fitted at every point, the ends too, on the
    examples that the loss is taken on, is our reading of it. Costs one evaluation of every measured place.

    Args:
        quality: a measured path; its places, its sample and its workspace are used.
    """
    along, task = Along(quality.path.knots), quality.workspace.task
    found = {}
    for split in METRIC_SPLITS:
        if (data := getattr(task, split)) is None:
            found[split] = Metric(None, f"the task has no {split} data")
            continue
        points = (along(Place("", row.segment, row.u)) for row in quality.rows)
        try:
            sample = quality.sample if split == "train" else None
            losses = [one.loss for one in calibrated_losses(quality.workspace, points, data, sample)]
        except MetricError as error:
            found[split] = Metric(None, str(error))
            continue
        value = highest(np.array(losses)) - 0.5 * (losses[0] + losses[-1])
        found[split] = Metric(value) if np.isfinite(value) else Metric(None, "the loss is not finite everywhere")
    return found
