"""Functional diversity along a path, and what ensembles of its points are worth (Garipov et al., 2018)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from llpf_plugin.errors import MetricError
from llpf_plugin.geometry.weights import assign
from llpf_plugin.quality.predictions import predict
from llpf_plugin.quality.verdict import Quality


@dataclass(frozen=True)
class Diversity:
    """What the points of a path answer, compared with the ends.

    Attributes:
        split: the data that were asked.
        t: positions, ``[points]``, both ends included.
        error: share of wrong answers of each point.
        disagreement_a: share of examples that a point and A answer differently.
        disagreement_b: the same with B.
        pair_error: share of wrong answers of the ensemble of A and the point.
        ends_error: of the ensemble of A and B.
        path_error: of the ensemble of all points.
        why: why there is nothing of all this; then the arrays are empty and the numbers NaN.
    """

    split: str
    t: np.ndarray
    error: np.ndarray
    disagreement_a: np.ndarray
    disagreement_b: np.ndarray
    pair_error: np.ndarray
    ends_error: float
    path_error: float
    why: str = ""


def diversity(
    quality: Quality,
    split: str = "validation",
    points: int = 21,
    progress: Callable[[int, int], None] | None = None,
) -> Diversity:
    """Ask evenly spaced points of the path for their answers; an ensemble averages probabilities.

    Args:
        quality: a measured path; its sample and workspace are used.
        split: ``train``, ``validation`` or ``test``.
        points: at least 2; FGE's ensembles have 50.
        progress: called with the number of points done and of all.
    """
    data = getattr(quality.workspace.task, split)
    if data is None:
        return _undefined(split, f"the task has no {split} data")
    path, places = quality.path, np.linspace(0, 1, points)
    answers: list[Tensor] = []
    try:
        for done, t in enumerate(places, start=1):
            probabilities, targets = predict(quality.workspace, path.coordinates(float(t)), data, quality.sample)
            answers.append(probabilities)
            if progress:
                progress(done, points)
        a, b = answers[0], answers[-1]
        if path.open:
            b, _ = predict(quality.workspace, path.end, data, quality.sample)
            assign(quality.workspace.model, path.start)
    except MetricError as reason:
        return _undefined(split, str(reason))
    return Diversity(
        split, places,
        np.array([_wrong(p, targets) for p in answers]),
        np.array([_differ(p, a) for p in answers]),
        np.array([_differ(p, b) for p in answers]),
        np.array([_wrong(p + a, targets) for p in answers]),
        _wrong(a + b, targets), _wrong(sum(answers[1:], a), targets),
    )  # fmt: skip


def _undefined(split: str, why: str) -> Diversity:
    nothing = np.zeros(0)
    return Diversity(split, nothing, nothing, nothing, nothing, nothing, float("nan"), float("nan"), why)


def _wrong(scores: Tensor, targets: Tensor) -> float:
    return float((scores.argmax(1) != targets).double().mean())


def _differ(one: Tensor, other: Tensor) -> float:
    return float((one.argmax(1) != other.argmax(1)).double().mean())
