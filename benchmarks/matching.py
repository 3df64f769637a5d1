"""What weight matching makes of the straight line between two wide networks on MNIST (Git Re-Basin: no barrier).

The barrier is that of the training loss, without and with alignment; a calibrated one has the softmax temperature that
is best at each point. The distance is that after alignment over before.

    LLPF_DATA=FOLDER python benchmarks/matching.py --widths 64 512
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from provenance import add_table, publish, stamp
from shared import table

from llpf_plugin import Compute, Defaults, Recipe, Task, align, load_task
from llpf_plugin.geometry import Weights, lerp
from llpf_plugin.quality import Calibrated, calibrated_losses
from llpf_plugin.tasks.models import MLP
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace

COMPUTE = Compute("cpu")
POINTS = 10
"""Sub-segments of the lines that are measured."""


def mnist_mlp(width: int, subset: int | None) -> Task:
    """Three hidden layers on MNIST, as in the paper's first experiment (there 512 wide)."""
    task = load_task("mnist/lenet5", {"subset": subset, "augment": False})
    build = partial(MLP, 784, width, 3, 10)
    task = replace(task, model=build(), build=build, name="mnist/mlp")
    return replace(task, recipe=Recipe(epochs=5, lr=0.1), defaults=Defaults(128))


def barrier(losses: Sequence[float]) -> float:
    """The line's maximum over the mean of its ends (Ainsworth et al.)."""
    return max(losses) - (losses[0] + losses[-1]) / 2


def line(workspace: Workspace, a: Weights, b: Weights, sample: int | None) -> list[Calibrated]:
    """Cross-entropies at the places of a line, both ends included."""
    points = (lerp(a, b, i / POINTS) for i in range(POINTS + 1))
    return calibrated_losses(workspace, points, workspace.task.train, sample)


def row(width: int, epochs: float, subset: int | None, sample: int | None, seeds: Sequence[int]) -> tuple[str, ...]:
    task = mnist_mlp(width, subset)
    a, b = (train(task, seed, COMPUTE, epochs=epochs) for seed in seeds)
    began = time.perf_counter()
    matching = align(a, b, task)
    seconds = time.perf_counter() - began
    workspace = Workspace(task, COMPUTE)
    lines = [line(workspace, a, end, sample) for end in (b, matching.weights)]
    barriers = [f"{barrier(losses):.4f}" for own in lines for losses in ([p.plain for p in own], [p.loss for p in own])]
    return (
        str(width), f"{max(lines[0][0].plain, lines[0][-1].plain):.4f}", *barriers,
        f"{matching.distance[1] / matching.distance[0]:.2f}", str(matching.sweeps), f"{seconds:.1f}",
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--subset", type=int, help="training images (default: all but those held out)")
    parser.add_argument("--sample", type=int, default=10_000, help="training images that lines are measured on")
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 1))
    add_table(parser)
    asked = parser.parse_args(arguments)
    head = (
        "width", "worse end", "barrier", "calibrated", "barrier, aligned", "calibrated", "distance", "sweeps", "seconds"
    )  # fmt: skip
    rows = [row(width, asked.epochs, asked.subset, asked.sample, asked.seeds) for width in asked.widths]
    publish(table(head, rows), asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
