"""What was measured, as JSON values for machines: no NaN, no infinity; what is undefined is null and says why."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from llpf_plugin.quality import METRIC_SPLITS
from llpf_plugin.report.examine import Examined

FORMAT, VERSION = "llpf-report", 1


def document(examined: Sequence[Examined]) -> dict[str, Any]:
    """Everything that was measured of all runs."""
    return {"format": FORMAT, "version": VERSION, "runs": [_run(one) for one in examined]}


def _run(one: Examined) -> dict[str, Any]:
    run, quality = one.run, one.quality
    task, arguments = run.task
    outcome = quality.path.outcome
    return plain(
        {
            "name": run.name, "folder": str(run.folder), "method": run.method, "task": task,
            "task_arguments": arguments, "pair": run.pair, "settings": run.settings,
            "outcome": outcome.name if outcome is not None else None, "cost": quality.path.cost,
            **{k: v for k, v in quality.summary().items() if k != "metrics"},
            "metrics": {split: one.metrics(split) for split in METRIC_SPLITS},
            "arrival": quality.arrival,
            "merged": {"t": one.picked.t, "scores": one.picked.scores},
            "straight_line": list(one.line), "knots": len(quality.path.knots), "points": quality.rows,
            "layers": one.trace, "tensors": one.tensors, "layer_barriers": one.layers, "diversity": one.diversity,
            "sharpness": one.sharpness, "relative_flatness": one.flatness, "plane": one.plane, "notes": one.notes,
        }
    )  # fmt: skip


def plain(value: Any) -> Any:
    """The value as JSON knows it: data classes as objects, arrays as lists, what is not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
