"""Two networks that know five classes each become one that knows ten (``llpf merge --heads union``).

Every way is given the same pairs, the same joint training data and the same gradient steps. The classes of pair ``i``
are drawn from seed ``i``; its networks have five outputs, are trained on the examples of their own classes alone, from
the seeds ``2i`` and ``2i + 1``, and are kept in ``--cache``. Printed is accuracy on test data, means over pairs and
every pair's own; which way is kept is decided on validation data.

    python benchmarks/union.py --task digits/resnet
    LLPF_DATA=FOLDER python benchmarks/union.py --task mnist/lenet5 --steps 100 400
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from provenance import add_table, publish, stamp
from shared import add_cache, table, trained

from llpf_plugin import Compute, Task, TensorData, load_task
from llpf_plugin.geometry import Weights
from llpf_plugin.merging import Candidate, United, unite
from llpf_plugin.merging.head import find_head

COMPUTE = Compute("cpu")
CHOSEN = "chosen on validation data"


@dataclass(frozen=True)
class Bench:
    """A task.

    Attributes:
        arguments: of the task's factory.
        steps: gradient steps of every way, by which tables are made.
        epochs: of the networks' training, None for those of the task's recipe.
        sample: joint examples that the points of a path are measured on, None for all.
        test: test images, None for all.
        batch_size: examples of a gradient step of every way, None for the task's.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[int] = (30, 150)
    epochs: float | None = None
    sample: int | None = None
    test: int | None = None
    batch_size: int | None = None


BENCHES = {
    "digits/resnet": Bench(),
    "mnist/lenet5": Bench({"subset": 4000}, (100, 400), 10, 1000, 4000),
    "cifar10/resnet8": Bench({"subset": 4000, "width": 8}, (100, 300), 20, 512, 2000, 64),
}


def halves(classes: int, pair: int) -> tuple[list[int], list[int]]:
    """The classes of A and of B."""
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(pair)).tolist()
    return sorted(order[: classes // 2]), sorted(order[classes // 2 :])


def only(data: TensorData, places: Sequence[int]) -> TensorData:
    """The examples of some classes, which are numbered anew."""
    rows = torch.isin(data.targets, torch.tensor(places))
    targets = torch.tensor([places.index(target) for target in data.targets[rows].tolist()])
    return TensorData(data.inputs[rows], targets, data.augment)


def expert(task: Task, bench: Bench, places: Sequence[int], cache: Path, pair: int, side: int) -> Weights:
    """A network with an output for each of some classes, trained on their examples alone."""
    assert isinstance(task.train, TensorData) and task.build is not None
    head = find_head(task.model, task.example_inputs(), len(task.classes))
    build = partial(_narrow, task, head, len(places))
    own = replace(task, model=build(), build=build, classes=(), train=only(task.train, places))
    file = cache / f"union_{task.name.replace('/', '_')}_{pair}{'ab'[side]}.pt"
    return trained(own, file, 2 * pair + side, COMPUTE, epochs=bench.epochs)


def _narrow(task: Task, head: Any, classes: int) -> torch.nn.Module:
    assert task.build is not None
    narrow: torch.nn.Module = head.narrowed(task.build(), classes)
    return narrow


def joined(task: Task, bench: Bench, pair: int, cache: Path, steps: int, lr: float | None) -> United:
    """All ways from a pair, within so many gradient steps."""
    parts = halves(len(task.classes), pair)
    models = [expert(task, bench, places, cache, pair, side) for side, places in enumerate(parts)]
    labels = [[task.classes[i] for i in places] for places in parts]
    search: dict[str, Any] = {"budget": steps, "lr": lr, "sample": bench.sample, "batch_size": bench.batch_size}
    return unite(models, task, labels=labels, compute=COMPUTE, **search)


def rows(found: Sequence[United]) -> list[list[str]]:
    """A row for each parent and each way: means over pairs, then every pair's accuracy on all classes."""
    chosen = [next(c for c in one.candidates if c.name == one.chosen) for one in found]
    by_name = list(zip(*([*one.parents, *one.candidates] for one in found), strict=True))
    return [_row(same[0].name, same) for same in by_name] + [_row(CHOSEN, chosen)]


def _row(name: str, same: Sequence[Candidate]) -> list[str]:
    failed = any(one.failed for one in same)
    values = {} if failed else {group: [_percent(one, group) for one in same] for group in ("A", "B", "all")}
    means = [f"{mean(values[group]):.1f}" if values else "–" for group in ("A", "B", "all")]
    return [name, *means, *(["–"] * len(same) if failed else (f"{value:.1f}" for value in values["all"]))]


def _percent(one: Candidate, group: str) -> float:
    score = one.scores["test"][group]
    return 100 * score.accuracy if score is not None and score.accuracy is not None else float("nan")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(BENCHES), default="digits/resnet")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, nargs="+", help="of every way (default: the task's)")
    parser.add_argument("--epochs", type=float, help="of the networks' training (default: the task's)")
    parser.add_argument("--lr", type=float, help="of every way (default: the task's)")
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    bench = BENCHES[asked.task]
    bench = replace(bench, epochs=asked.epochs or bench.epochs)
    task = load_task(asked.task, bench.arguments)
    assert isinstance(task.test, TensorData)
    task = replace(task, test=task.test.subset(bench.test))
    text = []
    for steps in asked.steps or bench.steps:
        found = []
        for pair in range(asked.pairs):
            found.append(joined(task, bench, pair, asked.cache, steps, asked.lr))
            print(f"pair {pair}, {steps} steps: {found[-1].chosen}", flush=True)
        head = ("test accuracy, %", "A's classes", "B's classes", "all", *(f"pair {i}" for i in range(asked.pairs)))
        kept = "; ".join(one.chosen for one in found)
        text += [
            f"{asked.task}, {len(task.train)} training examples, {steps} steps; kept: {kept}",
            table(head, rows(found)),
        ]
    publish("\n\n".join(text), asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
