"""Metrics that follow from a path and its dense evaluation alone, each under the name that its source gives it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from llpf_plugin.geometry.path import Path


@dataclass(frozen=True)
class Metric:
    """One number about a path, or the reason why there is none.

    Attributes:
        value: the number, None where it is undefined.
        why: why it is undefined.
    """

    value: float | None
    why: str = ""


@dataclass(frozen=True)
class Definition:
    """What a metric is.

    Attributes:
        title: for tables.
        words: how it is computed.
        source: who uses it.
        unit: what its values are: ``loss``, ``share`` (of examples, in [0, 1]), ``weights`` (Euclidean length in weight
            space) or ``ratio``.
    """

    title: str
    words: str
    source: str
    unit: str = "loss"


DEFINITIONS: Mapping[str, Definition] = {
    "dense_maximum": Definition("dense maximum", "the highest loss of all measured points", "LLPF"),
    "tolerance": Definition("tolerance", "dense maximum − the worse end's loss", "LLPF"),
    "barrier_midpoint": Definition("barrier, to the mean", "max L(t) − ½(L(0) + L(1))", "Ainsworth et al., 2023"),
    "barrier_chord": Definition("barrier, to the chord", "max [L(t) − ((1−t)·L(0) + t·L(1))]", "Entezari et al., 2022"),
    "error_barrier": Definition(
        "error barrier", "max E(t) − ½(E(0) + E(1)); under 2 % counts as connected", "Frankle et al., 2020", "share"
    ),
    "barrier_calibrated": Definition(
        "barrier, calibrated",
        "the barrier to the mean, every L with its best softmax temperature",
        "Ito et al., 2025",
    ),
    "saddle": Definition("saddle", "the highest loss of the knots and of 9 places per segment", "Draxler et al., 2018"),
    "integral": Definition("integral", "Σ ½(Lᵢ + Lᵢ₊₁)·Δℓᵢ / Σ Δℓᵢ", "Garipov et al., 2018"),
    "length": Definition("length", "Σ Δℓᵢ over all segments", "Garipov et al., 2018", "weights"),
    "length_ratio": Definition("length ratio", "length / ‖B − A‖; 1 is the line", "Garipov et al., 2018", "ratio"),
}
"""Every metric that is one number per path, by name."""

LOSSES = ("dense_maximum", "tolerance", "barrier_midpoint", "barrier_chord", "integral")
"""Metrics of the loss along the path; they are the same functions on every split."""

GEOMETRY = ("length", "length_ratio")
"""Metrics of the knots alone."""


def loss_metrics(t: np.ndarray, loss: np.ndarray, accuracy: np.ndarray, missing: str) -> dict[str, Metric]:
    """Metrics of one split.

    Args:
        t: positions ``[points]``, increasing from 0 to 1.
        loss: losses ``[points]``; NaN where there were no data, and then everywhere.
        accuracy: shares of correct answers ``[points]``; likewise.
        missing: why there is no loss, if there is none.
    """
    functions: dict[str, Callable[[], float]] = {
        "dense_maximum": lambda: highest(loss),
        "tolerance": lambda: highest(loss) - max(loss[0], loss[-1]),
        "barrier_midpoint": lambda: highest(loss) - 0.5 * (loss[0] + loss[-1]),
        "barrier_chord": lambda: highest(loss - ((1 - t) * loss[0] + t * loss[-1])),
        "integral": lambda: trapezoid(loss, t),
    }
    found = {name: _metric(functions[name], missing) for name in LOSSES}
    found["error_barrier"] = error_barrier(accuracy, missing or "the objective counts no correct answers")
    return found


def error_barrier(accuracy: np.ndarray, missing: str) -> Metric:
    """``max E(t) − ½(E(0) + E(1))`` of the error E = 1 − accuracy (Frankle et al., 2020)."""
    if np.isnan(accuracy).any():
        return Metric(None, missing)
    error = 1 - accuracy
    return Metric(float(error.max() - 0.5 * (error[0] + error[-1])))


def trapezoid(values: np.ndarray, t: np.ndarray) -> float:
    """The integral of ``values`` over ``t``, both ``[points]``; NumPy has it under this name from version 2 on."""
    return float(torch.trapezoid(torch.as_tensor(values), torch.as_tensor(t)))


def highest(loss: np.ndarray) -> float:
    """The maximum; a loss that is not a number counts as infinite."""
    return float(np.nan_to_num(loss, nan=np.inf).max())


def _metric(function: Callable[[], float], missing: str) -> Metric:
    if missing:
        return Metric(None, missing)
    value = function()
    return Metric(float(value)) if np.isfinite(value) else Metric(None, "the loss is not finite everywhere")


def path_metrics(path: Path) -> dict[str, Metric]:
    """Metrics of the path itself; every knot is read once or twice."""
    ratio = path.length_ratio
    return {
        "length": Metric(path.length),
        "length_ratio": Metric(ratio) if ratio < 1e100 else Metric(None, "A and B are the same point"),
    }
