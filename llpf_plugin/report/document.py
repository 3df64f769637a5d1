"""What was measured, as JSON values for machines: no NaN, no infinity; what is undefined is null and says why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llpf_plugin.documents import read_json
from llpf_plugin.errors import RunError
from llpf_plugin.files import is_empty, plain
from llpf_plugin.quality import METRIC_SPLITS, beside_ends
from llpf_plugin.report.measured import Measured
from llpf_plugin.runs import check_links

FORMAT, VERSION = "llpf-report", 1
FILE = "report.json"


def check_place(folder: Path, runs: Sequence[Path]) -> None:
    """Refuse a folder for a report that holds other files than these runs, or an earlier report.

    Raises:
        RunError: it holds something else, or a link to it, which the report might overwrite.
    """
    check_links(folder)
    if not folder.exists() or is_empty(folder) or folder.resolve() in [run.resolve() for run in runs]:
        return
    try:
        earlier = read_json(folder / FILE, RunError)["format"] == FORMAT
    except (RunError, LookupError, TypeError):
        earlier = False
    if not earlier:
        raise RunError(f"{folder} is not an empty folder and holds no report: name another folder with -o")


def document(examined: Sequence[Measured]) -> dict[str, Any]:
    """Everything that was measured of all runs."""
    return {"format": FORMAT, "version": VERSION, "runs": [_run(one) for one in examined]}


def _run(one: Measured) -> dict[str, Any]:
    run, quality = one.run, one.quality
    task, arguments = run.task
    outcome = quality.path.outcome
    return plain(
        {
            "name": run.name, "folder": str(run.folder), "method": run.method, "task": task,
            "task_arguments": arguments, "pair": run.pair, "settings": run.settings,
            "outcome": outcome.name if outcome is not None else None, "cost": quality.path.cost.to_json(),
            **{k: v for k, v in quality.summary().items() if k != "metrics"},
            "metrics": {split: one.metrics(split) for split in METRIC_SPLITS},
            "arrival": quality.arrival,
            **({} if run.alignment is None else {"alignment": run.alignment.to_json()}),
            "merged": {"t": one.picked.t, "scores": one.picked.scores, "beside": beside_ends(quality, one.picked)},
            "straight_line": list(one.line), "knots": len(quality.path.knots),
            "points": [row.to_json() for row in quality.rows],
            "layers": one.trace, "tensors": one.tensors, "layer_barriers": one.layers, "diversity": one.diversity,
            "sharpness": one.sharpness, "relative_flatness": one.flatness, "plane": one.plane, "notes": one.notes,
        }
    )  # fmt: skip
