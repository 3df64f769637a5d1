"""Measure a path from its knots, and judge what was measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from llpf_plugin.evaluation.along_path import placed
from llpf_plugin.evaluation.ends import SPLITS, measured_ends
from llpf_plugin.evaluation.point import STATISTICS, measure_point
from llpf_plugin.evaluation.survey import Along, Effort, Survey, ends_of_path, places
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import assign, layers_of
from llpf_plugin.quality.verdict import Quality
from llpf_plugin.records import Row
from llpf_plugin.tasks.load import load_task
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Workspace


def measure(
    path: Path,
    task: Task | str,
    max_loss: float | None = None,
    points: int = 4,
    sample: int | None = None,
    compute: Compute | None = None,
    progress: Callable[[int, int], None] | None = None,
    exact: bool = False,
    seed: int = 0,
) -> Quality:
    """Measure a path from its knots alone.

    Args:
        path: any path; its knots are read one after the other.
        task: model and data.
        max_loss: the goal (default: the one that the path was searched for).
        points: points evaluated per segment.
        sample: training examples to measure on, None for all.
        compute: device and precision.
        progress: called with the number of segments looked at and of all.
        exact: measure every place on all of these examples, not only those that may hold the maximum.
        seed: names the samples.
    """
    workspace, effort = Workspace(load_task(task), compute, seed), Effort(points, sample, exact)
    saved = "A" if path.descends else "AB"
    ends = measured_ends(workspace, {"A": path.start, "B": path.end}, sample, saved)
    assign(workspace.model, path.start)
    last = len(path.knots) if path.open else 1
    chain = [0, *range(2, len(path.knots)), last]
    goal = max_loss if max_loss is not None else path.cost.goal
    survey = Survey(workspace, Along(path.knots), ends_of_path(ends), effort, goal)
    rows = survey.run(places(chain, points), progress or (lambda done, total: None))
    return judge(path, rows, ends, workspace, goal, sample, exact)


def judge(
    path: Path, rows: Sequence[Row], ends: Mapping[str, Row], workspace: Workspace, goal: float | None,
    sample: int | None, exact: bool = False,
) -> Quality:  # fmt: skip
    """The quality of a path that has been measured: adds the last settled knot on test data, and B where it is missing.

    Args:
        path: the path.
        rows: its places, in order.
        ends: A and B as `measured_ends` has them; without B on a path towards the origin.
        workspace: whose model has A's buffers.
        goal: the training loss that it was to stay under, if any.
        sample: training examples that it is judged by, None for all.
        exact: whether every place was measured on all of them.
    """
    ends, i = dict(ends), path.last_settled
    if "B" not in ends:
        ends["B"] = measure_point(workspace, path.knots[-1], sample, SPLITS)
    known = {0: ends["A"], **({} if path.open else {len(path.knots) - 1: ends["B"]})}
    ends["last"] = known.get(i) or _last(workspace, path, rows, sample)
    layers = layers_of(list(path.knots[0]))
    return Quality(path, placed(path, rows), ends, goal, sample, layers, workspace, exact)


def _last(workspace: Workspace, path: Path, rows: Sequence[Row], sample: int | None) -> Row:
    """The last settled knot on validation and test data; its training loss is that of the path."""
    row = next(r for r in rows if (r.segment, r.u) == (path.last_settled - 1, 1.0))
    held_out = measure_point(workspace, path.knots[path.last_settled], sample, SPLITS[1:], STATISTICS)
    return replace(held_out, train=row.train, train_accuracy=row.train_accuracy, sample=row.sample)
