"""The frontier: gradient steps that each method needs until the dense path lies under 0.2, 0.1, 0.05, 0.02.

Pair ``i`` are the networks trained from seeds ``2i`` and ``2i + 1``, as in ``connect.py``. Every path is measured in
the same way: densely, between knots too, on the training set, BatchNorm statistics re-estimated at each place.
LLPF, at default settings, is asked for goals that fall by √2, from above the highest level on, and takes the steps that
it takes, those that its rate is found with among them. The others, at the rate that ``--tune`` found best, run with 32,
45, 64, 91, … gradient steps (AutoNEB from 64 on; on MNIST 32, 64, 128, …).
Every run starts from scratch; the runs end with the first that is under the lowest level or has used up its budget. A
level's number is the least steps of a run that is under it, so that a method may need up to 1.4 times fewer than it
says (2 times where the grid is that coarse). On CIFAR-10 the levels are higher, the goals 0.7 and 0.35, the grid 512,
1024, 2048, convolutions are in bfloat16, channels last, and paths are measured on 2,000 of the 4,000 images. Seconds
are those of the CPU. With ``--align`` every method leads to B aligned to A.

    python benchmarks/peers.py --task digits/resnet --json digits.json
    python benchmarks/peers.py --task digits/resnet --json digits-aligned.json --align
    python benchmarks/peers.py --task digits/resnet --tune
    python benchmarks/peers.py --task digits/resnet --memory

A second call with the same ``--json`` resumes where the first one stopped; with ``--pairs 0`` it only prints. A table
has the pairs on which all of the asked ``--methods`` were run.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from frontier import Run, paired, summary, whole
from provenance import add_table, publish, sessions, stamp
from shared import add_cache, table, trained

from llpf_plugin import LLPF, AutoNEB, Bezier, Compute, LLPFError, SphereCurve, Task, align, find_path, load_task
from llpf_plugin.files import write_json
from llpf_plugin.geometry import Weights


@dataclass(frozen=True)
class Bench:
    """A task of the frontier.

    Attributes:
        arguments: of the task's factory.
        pairs: of seeds.
        grid: gradient steps that methods which train for a given number of them are run with.
        goals: maxima that a walk is asked for.
        budget: gradient steps of a walk.
        levels: dense maxima of the training loss to reach.
        compute: where and how gradients are computed, for all methods alike.
        rates: factors on a method's learning rate that ``--tune`` found best, where that is not 1.
        tuned: gradient steps of the runs of ``--tune``.
        sample: training images that paths are measured on, None for all: the frontier's, and those of ``--tune``.
    """

    arguments: Mapping[str, Any]
    pairs: int
    grid: tuple[int, ...]
    goals: tuple[float, ...]
    budget: int
    levels: tuple[float, ...] = (0.2, 0.1, 0.05, 0.02)
    compute: Compute = Compute("cpu")  # noqa: RUF009
    rates: Mapping[str, float] = field(default_factory=dict)
    tuned: tuple[int, ...] = (64, 181)
    sample: tuple[int | None, int | None] = (None, None)


def roots(first: int, last: int) -> tuple[int, ...]:
    """Powers of √2."""
    return tuple(round(2 ** (i / 2)) for i in range(first, last + 1))


WALK = "LLPF"
TRAINED = {"sphere curve": SphereCurve, "Bezier (FGE)": Bezier, "AutoNEB": AutoNEB}
"""What walks for as long as it takes, and what trains for a number of steps. Finetuning leads to no path."""

METHODS = (WALK, *TRAINED)

GOALS = (0.28, 0.2, 0.14, 0.1, 0.07, 0.05, 0.035, 0.025, 0.02)
"""Of walks, falling by √2."""

TWICE, HALF = (dict.fromkeys(TRAINED, factor) for factor in (2.0, 0.5))
"""What ``--tune`` found for curves: factors on their learning rate."""

BENCHES = {
    "digits/resnet": Bench({}, 10, roots(10, 19), GOALS, 1000, rates=TWICE),
    "digits/transformer": Bench({}, 5, roots(10, 20), GOALS, 1500, rates=TWICE),
    "mnist/lenet5": Bench({"subset": 4000}, 3, (32, 64, 128, 256, 512, 1024), GOALS, 2000, rates=HALF),
    "cifar10/resnet8": Bench(
        {"subset": 4000}, 3, (512, 1024, 2048), (0.7, 0.35), 3000, (0.5, 0.25, 0.2, 0.1),
        Compute("cpu", "bfloat16", channels_last=True), {"sphere curve": 4.0, "Bezier (FGE)": 2.0}, (512,),
        (2000, 1000),
    ),
}  # fmt: skip

TUNING = (20, 21)
"""Seeds of the pair that ``--tune`` takes, which is none of the others."""

RATES = (0.12, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Factors on the methods' learning rate that ``--tune`` tries."""


def run(
    task: Task, a: Weights, b: Weights, pair: int, method: str, asked: float, bench: Bench, rate: float | None = None
) -> Run:
    """One search, at a factor on the learning rate (by default the one that ``--tune`` found)."""
    shared: dict[str, Any] = {"points": 2, "sample": bench.sample[0], "compute": bench.compute, "measure": "exact"}
    began = time.process_time()
    if method == WALK:
        path = find_path(a, b, task, LLPF(), max_loss=asked, budget=bench.budget, **shared)
    else:
        steps, rate = int(asked), bench.rates.get(method, 1.0) if rate is None else rate
        shared |= {"lr": rate * task.defaults.lr, "tolerance": 1e9, "budget": steps}
        path = find_path(a, b, task, TRAINED[method](steps=steps), **shared)
    seconds = time.process_time() - began
    return Run(pair, method, asked, path.cost.gradient_steps, path.quality.maximum, path.length_ratio, seconds)


def grid(method: str, bench: Bench) -> Sequence[float]:
    """What a method is asked for, in the order of trying: goals, or gradient steps."""
    if method == WALK:
        return bench.goals
    return bench.grid[2:] if method == "AutoNEB" else bench.grid


def frontier(task: Task, a: Weights, b: Weights, pair: int, method: str, bench: Bench) -> Iterator[Run]:
    """Every run that the frontier of a method on a pair needs."""
    for asked in grid(method, bench):
        try:
            one = run(task, a, b, pair, method, asked, bench)
        except LLPFError as error:  # a level below the loss of an end
            print(f"pair {pair}, {method}, {asked}: {error}", flush=True)
            continue
        words = f"{one.steps} steps, {one.maximum:.4f}, {one.seconds:.0f} s"
        print(f"pair {pair}, {method}, {asked:g}: {words}", flush=True)
        yield one
        if one.maximum <= bench.levels[-1] or one.steps >= bench.budget:
            return


def tune(
    task: Task, a: Weights, b: Weights, methods: Sequence[str], bench: Bench, rates: Sequence[float] = RATES
) -> str:
    """The dense maximum of one run of each method at several learning rates."""
    rows = []
    bench = replace(bench, sample=bench.sample[::-1])
    for method in methods:
        for steps in bench.tuned:
            given = [run(task, a, b, -1, method, steps, bench, rate) for rate in rates]
            rows.append((method, str(steps), *(f"{r.maximum:.4f} ({r.ratio:.2f})" for r in given)))
            print(rows[-1], flush=True)
    return table(("maximum (length ratio)", "steps", *(f"× {rate:g}" for rate in rates)), rows)


def memory(task: str, methods: Sequence[str], cache: Path) -> str:
    """Peak memory of each method above that of a process that holds the task and both ends, in a process of its own."""
    rows = []
    for method in ["straight line", *methods]:
        command = [sys.executable, __file__, "--task", task, "--cache", str(cache), "--peak", method]
        rows.append((method, subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()))
    return table(("method", "peak memory, MB"), rows)


def peak(task: Task, a: Weights, b: Weights, method: str, bench: Bench) -> float:
    """Megabytes that one short run of a method adds to this process's peak."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if method != "straight line":
        run(task, a, b, 0, method, grid(method, bench)[0], bench)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(BENCHES), default="digits/resnet")
    parser.add_argument("--pairs", type=int, help="how many (default: ten on digits, three on the others)")
    parser.add_argument("--first", type=int, default=0, help="number of the first pair")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--align", action="store_true", help="lead every method to B aligned to A")
    parser.add_argument("--tune", action="store_true", help="try learning rates on a pair of its own instead")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, help="factors on it")
    parser.add_argument("--memory", action="store_true", help="measure peak memory on the first pair instead")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=Path("peers.json"), help="results, written after each method")
    add_cache(parser)
    add_table(parser)
    return parser.parse_args(arguments)


def measure(asked: argparse.Namespace, task: Task, bench: Bench) -> tuple[list[Run], list[str]]:
    """Every run, those that the JSON file holds already among them, and the stamps of what measured them."""
    held = json.loads(asked.json.read_text()) if asked.json.is_file() else {"runs": []}
    runs = [Run(**r) for r in held["runs"]]
    for pair in range(asked.first, asked.first + (bench.pairs if asked.pairs is None else asked.pairs)):
        a, b = ends(asked, task, (2 * pair, 2 * pair + 1))
        for method in asked.methods:
            if any((r.pair, r.method) == (pair, method) for r in runs):
                continue
            runs += frontier(task, a, b, pair, method, bench)
            held = {"task": asked.task, "bench": asdict(bench), "measured": sessions(held)}
            write_json(asked.json, {**held, "runs": [asdict(r) for r in runs]})
    return [r for r in runs if r.method in asked.methods], held.get("measured", [])


def ends(asked: argparse.Namespace, task: Task, seeds: Sequence[int]) -> list[Weights]:
    """The networks of two seeds, the second one aligned if that was asked for."""
    stem = asked.task.replace("/", "_")
    a, b = (trained(task, asked.cache / f"{stem}_{seed}.pt", seed, Compute("cpu")) for seed in seeds)
    return [a, align(a, b, task).weights if asked.align else b]


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    bench = BENCHES[asked.task]
    task = replace(load_task(asked.task, bench.arguments), validation=None, test=None)  # nothing is chosen here
    if asked.peak:
        print(f"{peak(task, *ends(asked, task, (0, 1)), asked.peak, bench):.0f}")
    elif asked.tune:
        curves = [m for m in asked.methods if m in TRAINED]
        found = tune(task, *ends(asked, task, TUNING), curves, bench, asked.rates)
        publish(found, asked.table, arguments, [stamp()])
    elif asked.memory:
        publish(memory(asked.task, asked.methods, asked.cache), asked.table, arguments, [stamp()])
    else:
        runs, stamps = measure(asked, task, bench)
        title = f"{asked.task}{', aligned' * asked.align}, pairs {', '.join(map(str, whole(runs)))}"
        beside = (paired(runs, ours, bench.levels) for ours in (WALK, "sphere curve"))
        publish("\n\n".join([title, summary(runs, bench.levels), *beside]), asked.table, arguments, stamps)


if __name__ == "__main__":
    main()
