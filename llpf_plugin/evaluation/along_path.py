"""Dense evaluation: losses and accuracies at the knots and between them, statistics re-estimated at every point."""

from collections.abc import Sequence
from typing import Any

from llpf_plugin.evaluation.point import evaluate
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import Weights, coordinates, lerp, select
from llpf_plugin.workspace import Gradient

Row = dict[str, Any]
"""One measured point: ``u``, its place in its segment, and by split ``train``, ``train_accuracy``, ``validation``, …"""


def measure_point(gradient: Gradient, weights: Weights, sample: int | None, test: bool = False) -> Row:
    """Losses and accuracies of one point on training and validation data, and on test data if asked."""
    task = gradient.task
    splits = {"train": task.train, "validation": task.validation, **({"test": task.test} if test else {})}
    scores, _ = evaluate(gradient, weights, splits, sample)
    row: Row = {}
    for split, score in scores.items():
        row[split] = None if score is None else score.loss
        row[f"{split}_accuracy"] = None if score is None else score.accuracy
    return row


def measure_segment(
    gradient: Gradient,
    p: Weights,
    q: Weights,
    points: int,
    sample: int | None,
    ends: Sequence[Row | None] = (None, None),
) -> list[Row]:
    """A segment's dense evaluation: its two knots and ``points − 1`` places between them, evenly spaced.

    Args:
        gradient: whose model is used as a workspace.
        p: coordinates of the first knot.
        q: coordinates of the second.
        points: sub-segments.
        sample: training examples to measure on, None for all.
        ends: rows of the knots where they are known already.
    """
    rows = []
    for i in range(points + 1):
        u = i / points
        known = ends[0] if i == 0 else ends[1] if i == points else None
        row = known or measure_point(gradient, lerp(p, q, u), sample)
        rows.append({**row, "u": u})
    return rows


def linear_losses(
    gradient: Gradient, a: Weights, b: Weights, points: int = 6, sample: int | None = 1000
) -> list[float]:
    """Training losses at evenly spaced points of the straight line from ``a`` to ``b``, both ends included.

    Args:
        gradient: whose model is used as a workspace.
        a: model A; only its coordinates count.
        b: model B.
        points: sub-segments of the line.
        sample: training examples to measure on, None for all.
    """
    names = list(coordinates(gradient.model))
    start, end = select(a, names), select(b, names)
    train = {"train": gradient.task.train}
    scores = [evaluate(gradient, lerp(start, end, i / points), train, sample)[0]["train"] for i in range(points + 1)]
    return [score.loss for score in scores if score is not None]


def assemble(path: Path, segments: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of all segments in order, each knot once, with ``t`` and ``segment``."""
    positions = path.positions
    rows = []
    for i, segment in enumerate(segments):
        for row in segment if i == 0 else segment[1:]:
            t = positions[i] + row["u"] * (positions[i + 1] - positions[i])
            rows.append({**row, "t": float(t), "segment": i})
    return rows
