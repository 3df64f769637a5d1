"""The saddle of a path, as AutoNEB reports it (Draxler et al., 2018)."""

import numpy as np

from llpf_plugin.evaluation.along_path import measure_segment
from llpf_plugin.quality.metrics import Metric, highest
from llpf_plugin.quality.verdict import METRIC_SPLITS, Quality

SUB_POINTS = 9
"""Places between two knots."""


def saddle(quality: Quality) -> dict[str, Metric]:
    """The highest loss of the knots and of nine evenly spaced places on every segment, by split.

    Costs nine evaluations per segment, none where the path was already measured at ten points per segment.

    Args:
        quality: a measured path; its sample and workspace are used.
    """
    rows = quality.rows
    knots = quality.path.knots
    segments = len(knots) - 1
    if len(rows) != segments * (SUB_POINTS + 1) + 1:
        known = [row for row in rows if row["u"] in (0.0, 1.0)]
        rows = []
        for i in range(segments):
            ends = (known[i], known[i + 1])
            rows += measure_segment(quality.workspace, knots[i], knots[i + 1], SUB_POINTS + 1, quality.sample, ends)
    found = {}
    for split in METRIC_SPLITS:
        if getattr(quality.workspace.task, split) is None:
            found[split] = Metric(None, f"the task has no {split} data")
            continue
        value = highest(np.array([row[split] for row in rows], dtype=float))
        found[split] = Metric(value) if np.isfinite(value) else Metric(None, "the loss is not finite everywhere")
    return found
