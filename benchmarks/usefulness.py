"""What a merge is good for: two networks trained on different halves of the data, or on different classes.

Every method gets the same pairs, the same joint training data and the same number of gradient steps on them. Points
and settings are chosen on validation data, and test data are only reported. Pair ``i`` are the networks of seeds ``2i``
and ``2i + 1``, its split is drawn from seed ``i``; networks are trained once and kept in ``--cache``.

    python benchmarks/usefulness.py --task digits/resnet --json digits.json
    python benchmarks/usefulness.py --task digits/resnet --joint 100 --json digits-100.json
    python benchmarks/usefulness.py --task digits/resnet --tune --json tuning.json

A second call with the same ``--json`` resumes where the first one stopped; with ``--pairs 0`` it only prints.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from apart import SPLITS, make_case
from gains import Result, by_method, summary, tuning
from merges import BASELINES, POINT, TUNED, Case, Merge, Recipe, llpf, scores
from provenance import add_table, publish, sessions
from shared import add_cache

from llpf_plugin import Compute, LLPFError, Task, TensorData, load_task
from llpf_plugin.files import write_json
from llpf_plugin.workspace import Precision

TUNING = (100, 101)
"""Numbers of the pairs that ``--tune`` takes, which are none of the others."""


@dataclass(frozen=True)
class Bench:
    """A task.

    Attributes:
        arguments: of the task's factory.
        pairs: of each split.
        steps: gradient steps on the joint data.
        low: by split, the mini-batch loss that counts as low: about A's after half of the steps of finetuning.
        recipe: how the ends are trained, where that is not the task's own way.
        sample: joint examples that the points of a path are measured on, None for all.
        test: test images, None for all.
        rates: by split, the rate that ``--tune`` found best for a family, where that is not 1 (for LLPF: its recipe's).
        precision: of all that is trained and measured; channels last where it is not float32.
        batch: examples of a gradient step, None for the task's.
    """

    arguments: Mapping[str, Any]
    pairs: int
    steps: int
    low: Mapping[str, float]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    sample: int | None = None
    test: int | None = None
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    precision: Precision = "float32"
    batch: int | None = None


FINETUNED = ("finetune", "average", "aligned average", "both")
RATES = (0.5, 1.0, 2.0, 4.0)
"""Baselines that finetune, and the factors on their learning rates that ``--tune`` tries."""

DIGITS = {"halves": {"finetune": 0.5}, "classes": {"finetune": 4.0, "aligned average": 0.5, "both": 0.5}}
MNIST = {
    "halves": {"average": 2.0},
    "classes": {"finetune": 2.0, "aligned average": 4.0, "both": 2.0, "LLPF from the ends": 1.0},
}
"""Averages: × 4 is better on the tuning pair, but leaves one of three others at chance, on validation data."""

FOURFOLD = dict.fromkeys((*FINETUNED, "LLPF from the ends", "LLPF from settled ends"), 4.0)
CIFAR = {"halves": FOURFOLD, "classes": FOURFOLD}
"""Not tuned: the same for all, near the rate that the ends were trained with."""

BENCHES = {
    "digits/resnet": Bench({}, 5, 150, {"halves": 0.1, "classes": 0.1}, sample=500, rates=DIGITS),
    "mnist/lenet5": Bench(
        {"subset": 4000}, 3, 300, {"halves": 0.15, "classes": 0.15}, {"epochs": 10}, 512, 4000, MNIST
    ),
    "cifar10/resnet8": Bench(
        {"subset": 4000, "width": 8}, 3, 100, {"halves": 1.5, "classes": 1.9}, {"epochs": 5}, 512, 1000, CIFAR,
        "bfloat16", 64,
    ),
}  # fmt: skip

Family = Callable[[Case], dict[str, Merge]]
"""What gives rows of the table, together."""

RECIPES = {
    "settle 0": Recipe(0.0),
    "settle 0.2": Recipe(0.2),
    "settle 0.4": Recipe(0.4),
    "settle 0.4, lr × 2": Recipe(0.4, lr=2.0),
    "settle 0.4, aligned": Recipe(0.4, align=True),
    "low": Recipe(0.0, low=True),
    "low, tail 0.4": Recipe(0.0, tail=0.4, low=True),
    "low, lr × 2": Recipe(0.0, lr=2.0, low=True),
    "low, lr × 2, tail 0.4": Recipe(0.0, tail=0.4, lr=2.0, low=True),
    "low, lr × 4, tail 0.4": Recipe(0.0, tail=0.4, lr=4.0, low=True),
}
"""Uses of LLPF that ``--tune`` tries, on digits."""

FROM_ENDS, FROM_SETTLED = "LLPF from the ends", "LLPF from settled ends"

BEST_RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    "halves": {FROM_ENDS: RECIPES["low, lr × 2, tail 0.4"], FROM_SETTLED: RECIPES["settle 0.4, aligned"]},
    "classes": {FROM_ENDS: RECIPES["low, lr × 2, tail 0.4"], FROM_SETTLED: RECIPES["settle 0.4"]},
}
"""By split, the uses of LLPF that ``--tune`` found best on digits."""

OURS: Mapping[str, tuple[str, str]] = {
    "halves": (f"{FROM_SETTLED}, {POINT}", f"{FROM_ENDS}, {TUNED}"),
    "classes": (f"{FROM_ENDS}, {POINT}", f"{FROM_SETTLED}, {TUNED}"),
}
"""By split, the rows that the others are compared with: the best on the validation data of the tuning pairs."""


def families(split: str, bench: Bench, tune: bool) -> dict[str, Family]:
    """What is run on every pair: the rows of the table, or what ``--tune`` tries."""
    if tune:
        tried = {f"{name}, lr × {rate:g}": _at(name, rate, f", lr × {rate:g}") for name in FINETUNED for rate in RATES}
        return {**tried, **{name: partial(llpf, recipe=recipe, name=name) for name, recipe in RECIPES.items()}}
    rates = bench.rates.get(split, {})
    own = {k: replace(recipe, lr=rates.get(k, recipe.lr)) for k, recipe in BEST_RECIPES[split].items()}
    baselines = {name: _at(name, rates.get(name, 1.0)) for name in BASELINES}
    return {**baselines, **{name: partial(llpf, recipe=recipe, name=name) for name, recipe in own.items()}}


def _at(name: str, rate: float, suffix: str = "") -> Family:
    """A baseline with a factor on its learning rate, its rows' names with a suffix."""
    return lambda case: {row + suffix: merge for row, merge in BASELINES[name](replace(case, lr=rate)).items()}


def run(case: Case, task: Task, split: str, pair: int, name: str, family: Family, tune: bool) -> list[Result]:
    """Every row of a family on a pair, scored on validation data and, unless settings are tried, on test data."""
    began = time.perf_counter()
    try:
        merges = family(case)
    except LLPFError as error:
        print(f"{split} {pair}, {name}: {error}", flush=True)
        return []
    seconds = time.perf_counter() - began
    data = {s: getattr(task, s) for s in ("validation", "test")[: 1 if tune else 2]}
    return [
        Result(split, pair, name, row, m.steps, len(m.members), m.t, scores(case, m, data), seconds)
        for row, m in merges.items()
    ]


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(BENCHES), default="digits/resnet")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--pairs", type=int, help="how many (default: five on digits, three on the others)")
    parser.add_argument("--joint", type=int, help="examples of the joint training data (default: all)")
    parser.add_argument("--steps", type=int, help="gradient steps on them")
    parser.add_argument("--tune", action="store_true", help="try settings, on pairs of their own and validation data")
    parser.add_argument("--only", nargs="+", default=[""], help="families whose names begin so, of those to run")
    parser.add_argument("--json", type=Path, default=Path("usefulness.json"), help="results, kept after each family")
    add_cache(parser)
    add_table(parser)
    return parser.parse_args(arguments)


def measure(asked: argparse.Namespace, task: Task, bench: Bench) -> dict[str, Any]:
    """Run what the JSON file does not hold yet; its content."""
    held = json.loads(asked.json.read_text()) if asked.json.is_file() else {"results": []}
    compute = Compute("cpu", precision=bench.precision, channels_last=bench.precision != "float32")
    pairs = TUNING if asked.tune else range(bench.pairs)
    for pair, split in product(pairs if asked.pairs is None else pairs[: asked.pairs], asked.splits):
        done = {r["family"] for r in held["results"] if (r["split"], r["pair"]) == (split, pair)}
        wanted = {k: f for k, f in families(split, bench, asked.tune).items() if k.startswith(tuple(asked.only))}
        missing = {k: f for k, f in wanted.items() if k not in done}
        if not missing:
            continue
        case = make_case(
            task, split, pair, asked.cache, bench.steps, bench.sample, bench.low[split], asked.joint, compute
        )
        for name, family in missing.items():
            fresh = run(case, task, split, pair, name, family, asked.tune)
            for r in fresh:
                words = ", ".join(f"{k} {v:.4f}" for k, v in r.scores.items())
                print(f"{split} {pair}, {r.family}: {r.method}, {r.steps} steps: {words}", flush=True)
            about = {"task": asked.task, "joint": asked.joint, "bench": asdict(bench), "measured": sessions(held)}
            held = {**about, "results": [*held["results"], *map(asdict, fresh)]}
            write_json(asked.json, held)
    return held


def every_table(asked: argparse.Namespace, task: Task, bench: Bench, results: Sequence[Result]) -> str:
    """The table of every split."""
    text = []
    for split in asked.splits:
        found = by_method(results, split, list(families(split, bench, asked.tune)))
        text.append(f"{asked.task}, {split}, {asked.joint or len(task.train)} joint examples, {bench.steps} steps")
        if not asked.tune:
            text.append(f"LLPF's point: {OURS[split][0]}; finetuned: {OURS[split][1]}")
        text.append(tuning(found) if asked.tune else summary(found, OURS[split]))
    return "\n\n".join(text)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    bench = BENCHES[asked.task]
    bench = replace(bench, steps=asked.steps or bench.steps)
    task = load_task(asked.task, bench.arguments)
    assert isinstance(task.test, TensorData)
    task = replace(task, recipe=replace(task.recipe, **bench.recipe), test=task.test.subset(bench.test))
    if bench.batch:
        recipe, defaults = (replace(of, batch_size=bench.batch) for of in (task.recipe, task.defaults))
        task = replace(task, recipe=recipe, defaults=defaults)
    held = measure(asked, task, bench)
    text = every_table(asked, task, bench, [Result(**r) for r in held["results"]])
    publish(text, asked.table, arguments, held.get("measured", []))


if __name__ == "__main__":
    main()
