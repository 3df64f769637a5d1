"""What the mean of more than two networks is worth: as they are, all aligned with the first, and in one consensus.

Networks are trained from seeds 0, 1, …; each group of k of them is averaged, and groups share no network. Losses are of
all training data, accuracies of test data, running statistics are re-estimated; all are means over the groups. The
spread is the root of the mean squared distance to the mean, over that of the networks as they are.

    python benchmarks/consensus.py --task digits/mlp digits/resnet --networks 16
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import torch
from provenance import add_table, publish, stamp
from shared import add_cache, table, trained

from llpf_plugin import Compute, Task, load_task
from llpf_plugin.alignment import Symmetry, match, match_all, symmetry
from llpf_plugin.evaluation import measure_point
from llpf_plugin.geometry import Weights, coordinates, distance, select
from llpf_plugin.workspace import Workspace

COMPUTE = Compute("cpu")
HEAD = ("the mean of", "train loss", "test accuracy", "spread", "lower than with the first", "rounds", "CPU s")
WHAT = ("as they are", "aligned with the first", "consensus")


@dataclass(frozen=True)
class Result:
    """The mean of one group of networks.

    Attributes:
        spread: the sum of squared distances to the mean.
        rounds: of the consensus.
        seconds: CPU time of matching.
    """

    what: str
    loss: float
    accuracy: float
    spread: float
    rounds: int = 0
    seconds: float = 0.0


def middle(models: Sequence[Weights], names: Sequence[str]) -> Weights:
    """The mean of the coordinates."""
    return {name: torch.stack([weights[name].double() for weights in models]).mean(0) for name in names}


def judged(workspace: Workspace, models: Sequence[Weights], what: str, rounds: int = 0, seconds: float = 0.0) -> Result:
    """The mean of some models, on training and test data."""
    names = list(coordinates(workspace.model))
    point = middle(models, names)
    row = measure_point(workspace, point, None, ("train", "test"))
    assert row.train is not None and row.test_accuracy is not None
    spread = sum(distance(point, select(weights, names)) ** 2 for weights in models)
    return Result(what, row.train, row.test_accuracy, spread, rounds, seconds)


def results(task: Task, found: Symmetry, models: Sequence[Weights]) -> list[Result]:
    """Of one group: all three means."""
    workspace, began = Workspace(task, COMPUTE), time.process_time()
    first = [models[0], *(match(models[0], other, task.model, found).weights for other in models[1:])]
    between = time.process_time()
    met = match_all(models, task.model, found)
    ended = time.process_time()
    return [
        judged(workspace, models, WHAT[0]),
        judged(workspace, first, WHAT[1], 0, between - began),
        judged(workspace, met.weights, WHAT[2], met.rounds, ended - between),
    ]


def rows(name: str, number: int, groups: Sequence[Sequence[Result]]) -> list[tuple[str, ...]]:
    """Of one task and one size of groups."""
    found = []
    for i, what in enumerate(WHAT):
        own = [group[i] for group in groups]
        spread = mean((group[i].spread / group[0].spread) ** 0.5 for group in groups)
        lower = sum(group[i].loss < group[1].loss for group in groups)
        found.append((
            f"{name}, {number} of them: {what}", f"{mean(r.loss for r in own):.4f}",
            f"{mean(r.accuracy for r in own):.1%}", f"{spread:.3f}", f"{lower} of {len(groups)}",
            f"{mean(r.rounds for r in own):.1f}", f"{mean(r.seconds for r in own):.1f}",
        ))  # fmt: skip
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", default=["digits/mlp", "digits/resnet"])
    parser.add_argument("--networks", type=int, default=16, help="trained of each task")
    parser.add_argument("--sizes", nargs="+", type=int, default=[2, 4, 8], help="networks of one mean")
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    found = list[tuple[str, ...]]()
    for name in asked.task:
        task, stem = load_task(name), name.replace("/", "_")
        symmetries = symmetry(task.model, task.example_inputs())
        files = [asked.cache / f"{stem}_{seed}.pt" for seed in range(asked.networks)]
        models = [trained(task, file, seed, COMPUTE) for seed, file in enumerate(files)]
        for number in asked.sizes:
            groups = [models[i : i + number] for i in range(0, len(models) - number + 1, number)]
            found += rows(name, number, [results(task, symmetries, group) for group in groups])
            print(table(HEAD, found[-3:]), flush=True)
    publish(table(HEAD, found), asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
