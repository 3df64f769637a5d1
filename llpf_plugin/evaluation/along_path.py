"""Losses and accuracies at the knots of a path and between them, statistics re-estimated at every point."""

from collections.abc import Sequence
from dataclasses import replace

from llpf_plugin.evaluation.point import measure_point, train_loss
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import Weights, coordinates, lerp, select
from llpf_plugin.records import Row
from llpf_plugin.workspace import Workspace

LINE_SAMPLE, LINE_POINTS = 512, 10
"""Training examples that the straight line is measured on, and its sub-segments."""


def measure_segment(
    workspace: Workspace,
    p: Weights,
    q: Weights,
    points: int,
    sample: int | None,
    ends: tuple[Row | None, Row | None] = (None, None),
) -> list[Row]:
    """Rows of a segment's two knots and of ``points − 1`` places between them, evenly spaced.

    Args:
        workspace: whose model is used.
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
        rows.append(replace(known or measure_point(workspace, lerp(p, q, u), sample), u=u))
    return rows


def losses_on_line(
    workspace: Workspace, a: Weights, b: Weights, points: int = LINE_POINTS, sample: int | None = LINE_SAMPLE
) -> list[float]:
    """Training losses at evenly spaced points of the straight line from ``a`` to ``b``, both ends included.

    Args:
        workspace: whose model is used.
        a: model A; only its coordinates count.
        b: model B.
        points: sub-segments of the line.
        sample: training examples to measure on, None for all.
    """
    names = list(coordinates(workspace.model, a))
    start, end = select(a, names), select(b, names)
    return [train_loss(workspace, lerp(start, end, i / points), sample) for i in range(points + 1)]


def placed(path: Path, rows: Sequence[Row]) -> list[Row]:
    """The rows of a path with their positions ``t`` on it, by segment and ``u``."""
    positions = path.positions
    ways = [(positions[row.segment], positions[row.segment + 1]) for row in rows]
    return [replace(row, t=float(p + row.u * (q - p))) for row, (p, q) in zip(rows, ways, strict=True)]
