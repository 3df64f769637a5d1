"""Measure a path from its knots, and judge what was measured."""

from collections.abc import Callable, Sequence

from llpf_plugin.evaluation.along_path import assemble, measure_segment
from llpf_plugin.evaluation.point import measure_point
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import assign, layers_of, select
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
) -> Quality:
    """Measure a path from its knots alone.

    Args:
        path: any path; its knots are read one after the other.
        task: model and data.
        max_loss: the goal (default: the one that the path was searched for).
        points: points evaluated per segment.
        sample: training examples to measure on, None for all.
        compute: device and precision.
        progress: called with the number of segments done and of all.
    """
    workspace = Workspace(load_task(task), compute)
    assign(workspace.model, select(path.start, path.unreached))
    segments: list[list[Row]] = []
    last: Row | None = None
    count = len(path.knots) - 1
    for i in range(count):
        segments.append(measure_segment(workspace, path.knots[i], path.knots[i + 1], points, sample, (last, None)))
        last = segments[-1][-1]
        if progress:
            progress(i + 1, count)
    goal = max_loss if max_loss is not None else path.cost.goal
    return judge(path, segments, workspace, goal, sample)


def judge(
    path: Path, segments: Sequence[Sequence[Row]], workspace: Workspace, goal: float | None, sample: int | None
) -> Quality:
    """The quality of a path whose segments have been measured: adds the ends and the last settled knot on test data."""
    a, last = path.knots[0], path.knots[path.last_settled]
    b = select(path.end, a) if path.open else path.knots[-1]
    ends = {k: measure_point(workspace, w, sample, test=True) for k, w in (("A", a), ("last", last), ("B", b))}
    layers = layers_of(list(path.knots[0]))
    return Quality(path, assemble(path, segments), ends, goal, sample, layers, workspace)
