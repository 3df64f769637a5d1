"""The plane through A, B and the path's middle, with the training loss on it (as in Garipov et al., 2018, figure 1).

Of a path that does not lead to B, its end takes the middle's place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llpf_plugin.evaluation.point import train_loss
from llpf_plugin.geometry.weights import Weights, norm, select
from llpf_plugin.quality.verdict import Quality

MARGIN = 0.2
"""How far the plane reaches beyond what is on it on every side, in units of the distance from A to B."""


@dataclass(frozen=True)
class LossPlane:
    """The training loss on a plane. A lies at (0, 0), B on the first axis; lengths are Euclidean, in weight space.

    Attributes:
        x: first coordinates of the grid, ``[columns]``.
        y: second coordinates, ``[rows]``.
        loss: the loss on the grid, ``[rows, columns]``.
        knots: the path's knots projected on the plane, ``[knots, 2]``.
        away: distance of each knot from the plane, ``[knots]``.
        marks: coordinates of ``A``, ``B`` and ``middle`` (or ``end``).
        sample: training examples that the loss was measured on, None for all.
        why: why there is no plane; then the arrays are empty.
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    knots: np.ndarray
    away: np.ndarray
    marks: dict[str, tuple[float, float]]
    sample: int | None
    why: str = ""


def loss_plane(
    quality: Quality,
    columns: int = 13,
    rows: int = 9,
    sample: int | None = 500,
    progress: Callable[[int, int], None] | None = None,
) -> LossPlane:
    """Measure the training loss on a grid, running statistics re-estimated at every point.

    Args:
        quality: a measured path.
        columns: grid points along A → B.
        rows: grid points across.
        sample: training examples, None for all.
        progress: called with the number of grid points done and of all.
    """
    path = quality.path
    third, t = ("end", 1.0) if path.open else ("middle", 0.5)
    a, middle = path.knots[0], path.coordinates(t)
    b = select(path.end, a) if path.open else path.knots[-1]
    along, width = _unit(_minus(b, a))
    across, height = _unit(_without(_minus(middle, a), along))
    nothing = np.zeros(0)
    if height <= 1e-6 * width:
        why = f"the path's {third} lies on the straight line between A and B"
        return LossPlane(nothing, nothing, np.zeros((0, 0)), np.zeros((0, 2)), nothing, {}, sample, why)
    knots, away = _project(path.knots, a, along, across)
    marks = {"A": (0.0, 0.0), "B": (width, 0.0), third: (_dot(_minus(middle, a), along), height)}
    points = np.concatenate([knots, list(marks.values())])
    low, high = points.min(0), points.max(0)
    low, high = low - MARGIN * width, high + MARGIN * width
    x, y = np.linspace(low[0], high[0], columns), np.linspace(low[1], high[1], rows)
    loss = np.zeros((rows, columns))
    for i, j in np.ndindex(rows, columns):
        point = {k: (t.double() + x[j] * along[k] + y[i] * across[k]).to(t.dtype) for k, t in a.items()}
        loss[i, j] = train_loss(quality.workspace, point, sample)
        if progress:
            progress(i * columns + j + 1, rows * columns)
    return LossPlane(x, y, loss, knots, away, marks, sample)


def _project(knots: Sequence[Weights], a: Weights, along: Weights, across: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the knots on the plane, and their distances from it."""
    places, away = [], []
    for knot in knots:
        step = _minus(knot, a)
        x, y = _dot(step, along), _dot(step, across)
        places.append((x, y))
        away.append(norm({k: t - x * along[k] - y * across[k] for k, t in step.items()}))
    return np.array(places), np.array(away)


def _minus(one: Weights, other: Weights) -> Weights:
    return {k: t.double() - other[k].double() for k, t in one.items()}


def _dot(one: Weights, other: Weights) -> float:
    return sum(float((t * other[k]).sum()) for k, t in one.items())


def _without(step: Weights, unit: Weights) -> Weights:
    """The part of ``step`` that is orthogonal to ``unit``."""
    share = _dot(step, unit)
    return {k: t - share * unit[k] for k, t in step.items()}


def _unit(step: Weights) -> tuple[Weights, float]:
    length = norm(step)
    return {k: t / max(length, 1e-300) for k, t in step.items()}, length
