"""How cost grows: with parameters, layers, knots and data; a power of the size that is fitted to the larger sizes.

Each row is one size of one axis, all else small: seconds of a tick without and with its settle (two steps on 32
examples), tensors that a walk's two ticks allocate at their peak, seconds of the layer order, and of measuring a path.
The last column of a table is the slope in a log-log fit over its larger half, where constants no longer count; a cost
that grows linearly has 1, and none should be above 1.1.

    python benchmarks/scale.py
    python benchmarks/scale.py --axis layers knots
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from provenance import add_table, publish, stamp
from shared import table
from tick import STEP_A, Unsettled, peak_memory, two_ticks, walk_of
from torch import nn

from llpf_plugin import Task, TensorData, layer_order, measure
from llpf_plugin.geometry import Path, Weights, clone, coordinates, lerp
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.llpf import Phase, Scheduled, SettleRule, ToModel, Walk
from llpf_plugin.workspace import Workspace

FEATURES, CLASSES, BATCH = 16, 4, 32

AXES: Mapping[str, Sequence[int]] = {
    "parameters": (10**5, 10**6, 10**7, 10**8),
    "layers": (10, 30, 100, 300, 1000),
    "knots": (10, 30, 100, 300),
    "data": (1_000, 3_000, 10_000, 30_000, 100_000),
}
"""Sizes: elements of all tensors, linear layers, knots of a path, training examples."""

Row = dict[str, float]


def task_of(width: int, depth: int, examples: int = 256) -> Task:
    """A stack of linear layers on random data."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(examples, FEATURES, generator=rng), torch.randint(0, CLASSES, (examples,), generator=rng)
    inner = [m for _ in range(depth) for m in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(), *inner, nn.Linear(width, CLASSES))
    return Task(model, TensorData(x, y), TensorData(x[:64], y[:64]), name=f"{depth} layers of {width}")


def ends_of(task: Task) -> tuple[Weights, Weights]:
    """Two points that differ a little."""
    a = clone(coordinates(task.model))
    rng = torch.Generator().manual_seed(1)
    return a, {k: t + 0.01 * torch.randn(t.shape, generator=rng) for k, t in a.items()}


def seconds(run: Callable[[], object], times: int = 3) -> float:
    """The best of a few runs, after one that warms up."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def walking(task: Task) -> Row:
    """Seconds of a tick, and bytes of a walk's first two."""
    found = {}
    for name, kind in (("tick without SGD", Unsettled), ("tick", Walk)):
        workspace = Workspace(task, batch_size=BATCH)
        phase = Phase(
            "all", frozenset(coordinates(task.model)), Scheduled(10**6, StepRule(step_a=STEP_A)), SettleRule(-1.0, 2, 2)
        )
        walk = kind(workspace, (phase,), lambda weights, end: ToModel(weights, end, "matrices"))
        state = walk.init(*ends_of(task))
        found[f"{name}, s"] = seconds(lambda walk=walk, state=state: walk.step(state))  # type: ignore[misc]
    workspace = Workspace(task, batch_size=BATCH)
    ends = ends_of(task)
    with peak_memory(workspace.device) as peak:
        two_ticks(walk_of(workspace, 2), *ends)
    return {**found, "peak, MiB": peak[0] / 2**20}


def measuring(task: Task, knots: int = 10) -> Row:
    """Seconds of measuring a path of so many knots, at default settings."""
    a, b = ends_of(task)
    chain = [lerp(a, b, i / (knots - 1)) for i in range(knots)]
    path = Path(chain, {**a}, {**b})
    return {"measuring, s": seconds(lambda: measure(path, task, max_loss=10.0), 1)}


def ordering(task: Task) -> Row:
    """Seconds of the layer order."""
    return {"layer order, s": seconds(lambda: layer_order(task.model, task.example_inputs()), 5)}


def row_of(axis: str, size: int) -> Row:
    """What there is to say about one size."""
    if axis == "parameters":
        task = task_of(round((size / 2) ** 0.5), 2)
        return {**walking(task), **measuring(task, 4)}
    if axis == "layers":
        task = task_of(32, size - 2)
        return {**walking(task), **ordering(task)}
    return measuring(task_of(32, 2), size) if axis == "knots" else measuring(task_of(32, 2, size))


def slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The power of the size by which the larger half of the values grows."""
    half = len(sizes) // 2
    x, y = np.log(sizes[half - 1 :]), np.log(np.maximum(values[half - 1 :], 1e-9))
    return float(np.polyfit(x, y, 1)[0])


def shown(axis: str) -> str:
    """The table of an axis."""
    sizes = AXES[axis]
    rows = [row_of(axis, size) for size in sizes]
    lines = []
    for name in rows[0]:
        values = [row[name] for row in rows]
        lines.append((name, *(f"{value:.3g}" for value in values), f"{slope(sizes, values):.2f}"))
    return table((axis, *(f"{size:,}" for size in sizes), "slope (≤ 1.1)"), lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", nargs="+", choices=list(AXES), default=list(AXES))
    add_table(parser)
    asked = parser.parse_args(arguments)
    publish("\n\n".join(shown(axis) for axis in asked.axis), asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
