"""Measure what a report shows of a run, from the files of its folder."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from llpf_plugin.errors import LLPFError, OrderError, RunError, TaskError
from llpf_plugin.evaluation.along_path import LINE_SAMPLE, losses_on_line
from llpf_plugin.geometry.weights import select
from llpf_plugin.order import layer_order
from llpf_plugin.preflight import fits, layer_statistics, raise_errors
from llpf_plugin.quality import (
    OriginQuality,
    Quality,
    calibrated_barrier,
    diversity,
    layer_barriers,
    loss_plane,
    measure,
    relative_flatness,
    saddle,
    sharpness,
    trace_layers,
)
from llpf_plugin.report.measured import EXTRAS, Measured
from llpf_plugin.runs.stored import StoredRun
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute

SAMPLE = 1000
"""Training examples at most that the extras are measured on, but for saddle, calibration and diversity."""

Tell = Callable[[str, int, int], None]
"""Called with what is being measured, how much of it is done, and all of it."""


def silent(what: str, done: int, total: int) -> None:
    """A `Tell` that says nothing."""


def measure_run(
    run: StoredRun, task: Task, points: int, sample: int | None, compute: Compute | None = None, tell: Tell = silent
) -> Quality:
    """Measure a run's path again from its knots, with the run's own goal.

    Raises:
        MismatchError: the knots do not fit the task's model.
    """
    raise_errors(fits(run.path.start, task.model, f"{run.name}, A"))
    seed = run.settings.get("seed")
    found = measure(
        run.path, task, points=points, sample=sample, compute=compute,
        progress=lambda done, total: tell(f"{run.name}: path", done, total),
        exact=run.settings.get("measure") == "exact", seed=seed if isinstance(seed, int) else 0,
    )  # fmt: skip
    return OriginQuality.of(found) if run.asked.b == "origin" else found


def measure_stored(
    run: StoredRun, quality: Quality, extras: Collection[str] = (), tell: Tell = silent, line: Sequence[float] = ()
) -> Measured:
    """Everything that the report shows of a measured run.

    Args:
        run: the run.
        quality: its path as measured, by the search itself or by `measure_run`.
        extras: some of `EXTRAS`.
        tell: hears of the progress.
        line: training losses of the straight line between the run's ends, where they were measured before.
    """
    unknown = set(extras) - set(EXTRAS)
    if unknown:
        raise LLPFError(f"there is no {', '.join(sorted(unknown))} to measure; there are {', '.join(EXTRAS)}")
    path = quality.path
    layers, notes = _layers(quality)
    if not line:
        line = losses_on_line(quality.workspace, path.start, path.end, sample=quality.sample or LINE_SAMPLE)
    found = Measured(
        run, quality, quality.pick("best" if run.picked is None else run.picked), line,
        trace_layers(path, layers), layer_statistics(path.knots[0], select(path.end, path.knots[0])),
        [*run.notes, *_other_verdict(run, quality), *notes],
    )  # fmt: skip
    for name in EXTRAS:
        if name in extras:
            _EXTRA[name](found, layers, tell)
    return found


def _layers(quality: Quality) -> tuple[Mapping[str, Sequence[str]], list[str]]:
    """Coordinates by layer in the order of the data flow; as the model lists them if that cannot be had."""
    task, moving = quality.workspace.traceable, set(quality.path.knots[0])
    try:
        order = layer_order(task.model, task.example_inputs())
    except (OrderError, TaskError) as error:
        return quality.layers, [f"layers stand as the model lists them, for their order cannot be derived: {error}"]
    own = {layer.name: [k for k in layer.parameters if k in moving] for layer in order.layers}
    return {name: names for name, names in own.items() if names}, []


def _other_verdict(run: StoredRun, quality: Quality) -> list[str]:
    """A note if the search had found another maximum than was measured now, on the same points and data."""
    if run.verdict is None:
        return []
    before = run.verdict.maximum
    same = run.settings.get("points") == len(quality.rows) // max(1, len(quality.path.knots) - 1)
    same = same and run.verdict.sample == quality.sample
    same = same and (quality.sample is None or "measure" in run.settings)  # once a sample was the first examples
    if not same or np.isclose(before, quality.maximum, rtol=0.02, atol=1e-5):
        return []
    return [
        f"quality.json says that the dense maximum is {before:.4g}, measured again it is {quality.maximum:.4g}: "
        "a file was edited, or the task's data or this machine's arithmetic are not those of the search"
    ]


def _sample(found: Measured) -> int:
    return min(SAMPLE, found.quality.sample or SAMPLE)


def _places(found: Measured) -> dict[str, float]:
    end = "end" if found.quality.path.open else "B"
    return {"A": 0.0, "middle": 0.5, f"merged, t = {found.picked.t:.2f}": found.picked.t, end: 1.0}


def _add_plane(found: Measured, layers: Mapping[str, Sequence[str]], tell: Tell) -> None:
    found.plane = loss_plane(
        found.quality, sample=_sample(found) // 2, progress=lambda d, n: tell(f"{found.run.name}: plane", d, n)
    )


def _add_saddle(found: Measured, layers: Mapping[str, Sequence[str]], tell: Tell) -> None:
    found.saddle = saddle(found.quality)


def _add_calibration(found: Measured, layers: Mapping[str, Sequence[str]], tell: Tell) -> None:
    found.calibration = calibrated_barrier(found.quality)


def _add_layers(found: Measured, layers: Mapping[str, Sequence[str]], tell: Tell) -> None:
    path = found.quality.path
    a, b = path.knots[0], select(path.end, path.knots[0])
    found.layers = layer_barriers(
        found.quality.workspace, a, b, layers, sample=_sample(found),
        progress=lambda d, n: tell(f"{found.run.name}: layers", d, n),
    )  # fmt: skip


def _add_diversity(found: Measured, layers: Mapping[str, Sequence[str]], tell: Tell) -> None:
    for split in ("validation", "test"):
        found.diversity = {
            **found.diversity,
            split: diversity(found.quality, split, progress=lambda d, n: tell(f"{found.run.name}: diversity", d, n)),
        }


def _add_sharpness(found: Measured, layers: Mapping[str, Sequence[str]], tell: Tell) -> None:
    places = _places(found)
    for done, (name, t) in enumerate(places.items(), start=1):
        weights = found.quality.path.coordinates(t)
        found.sharpness = {
            **found.sharpness, name: sharpness(found.quality.workspace, weights, sample=_sample(found))
        }  # fmt: skip
        tell(f"{found.run.name}: sharpness", done, len(places))


def _add_flatness(found: Measured, layers: Mapping[str, Sequence[str]], tell: Tell) -> None:
    found.flatness = {
        name: relative_flatness(found.quality.workspace, found.quality.path.coordinates(t), _sample(found))
        for name, t in _places(found).items()
    }


_EXTRA: Mapping[str, Callable[[Measured, Mapping[str, Sequence[str]], Tell], None]] = {
    "plane": _add_plane, "saddle": _add_saddle, "calibration": _add_calibration, "layers": _add_layers,
    "diversity": _add_diversity, "sharpness": _add_sharpness, "flatness": _add_flatness,
}  # fmt: skip


def same_measurement(runs: Sequence[StoredRun], points: int | None, sample: int | None) -> tuple[int, int | None]:
    """Points per segment and examples that all runs are measured with: what is given, else the finest of the runs' own.

    Raises:
        RunError: a run's settings are not numbers.
    """
    finest, most = 1, 0
    everything = False
    for run in runs:
        p, s = run.settings.get("points", 4), run.settings.get("sample")
        if not isinstance(p, int) or p < 1 or not (s is None or (isinstance(s, int) and s > 0)):
            raise RunError(f"{run.folder / 'run.json'} has points {p!r} and sample {s!r}: it was edited by hand")
        finest, most, everything = max(finest, p), max(most, s or 0), everything or s is None
    return points or finest, sample or (None if everything else most)
