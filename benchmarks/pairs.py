"""Pairs of independently trained networks, paths between them by several methods, and their tables.

Pair ``i`` are the networks trained from seeds ``2i`` and ``2i + 1``; they are trained once and kept in ``--cache``.
Every path's maximum is that of the dense path (four points per segment) on the whole training set.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from provenance import add_table, publish, sessions
from shared import add_cache, table, trained

from llpf_plugin import LLPF, Compute, LLPFError, Task, find_path, load_task
from llpf_plugin.evaluation import losses_on_line
from llpf_plugin.files import write_json
from llpf_plugin.geometry import NEAR, Weights
from llpf_plugin.workspace import Workspace


@dataclass(frozen=True)
class Bench:
    """A task with what is asked of the paths on it.

    Attributes:
        arguments: of the task's factory.
        pairs: of seeds.
        max_loss: the goal for the dense maximum.
        target: gradient steps that a path should need.
        budget: gradient steps that it may take.
        threshold: mini-batch loss that ends settling, None for the method's own.
    """

    arguments: Mapping[str, Any]
    pairs: int
    max_loss: float
    target: int
    budget: int
    threshold: float | None = None


BENCHES = {
    "digits/resnet": Bench({}, pairs=10, max_loss=0.06, target=200, budget=3000),
    "digits/mlp": Bench({}, pairs=10, max_loss=0.1, target=200, budget=3000),
    "mnist/lenet5": Bench({"subset": 4000}, pairs=3, max_loss=0.15, target=400, budget=3000),
    "cifar10/resnet8": Bench({"subset": 4000}, 3, max_loss=0.15, target=2500, budget=6000, threshold=0.12),
}


@dataclass(frozen=True)
class Result:
    """One method on one pair.

    Attributes:
        line: the maximum training loss on the straight line.
        maximum: that on the path.
        mean: the mean training loss on the path, by arc length.
        steps: gradient steps, repairs included.
        ratio: the path's length over the straight line's.
        seconds: of the whole search, dense measurements included.
        far: the largest relative distance of a layer to its destination at the last settled knot.
        outcome: of the walk.
        connected: whether all three criteria hold.
    """

    pair: int
    method: str
    line: float
    maximum: float
    mean: float
    steps: int
    ratio: float
    seconds: float
    far: float
    outcome: str
    connected: bool

    @property
    def arrived(self) -> bool:
        """Whether every layer had arrived when the walk settled for the last time."""
        return self.far <= NEAR

    def reached(self, bench: Bench) -> bool:
        """Whether the path arrived and lies under the goal."""
        return self.arrived and self.maximum <= bench.max_loss


def connect(
    task: Task, a: Weights, b: Weights, bench: Bench, pair: int, name: str, method: LLPF, line: float, compute: Compute
) -> Result:
    """Search one path and measure it."""
    method = replace(method, threshold=bench.threshold)
    path = find_path(a, b, task, method, max_loss=bench.max_loss, budget=bench.budget, compute=compute, measure="exact")
    quality, cost = path.quality, path.cost
    return Result(
        pair, name, line, quality.maximum, quality.mean, cost.gradient_steps, path.length_ratio, cost.seconds,
        max(quality.arrival.values()), path.outcome.name if path.outcome else "", quality.connected,
    )  # fmt: skip


def each_pair(results: Sequence[Result], bench: Bench) -> str:
    """The table of all results."""
    head = (
        "method",
        "pair",
        "line",
        "steps",
        "maximum",
        "length ratio",
        "seconds",
        "arrived",
        "goal reached",
        "connected",
    )
    rows = [
        (
            r.method, str(r.pair), f"{r.line:.2f}", str(r.steps), f"{r.maximum:.4f}", f"{r.ratio:.2f}",
            f"{r.seconds:.1f}", yes(r.arrived), yes(r.reached(bench)), yes(r.connected),
        )
        for r in results
    ]  # fmt: skip
    return table(head, rows)


def summary(results: Sequence[Result], bench: Bench) -> str:
    """The table of medians and worst cases, one line per method."""
    head = (
        "method", "steps (median; worst)", "maximum (median; worst)", "length ratio (median; worst)",
        "seconds (median; worst)", "goal reached", "connected", f"in ≤ {bench.target} steps",
    )  # fmt: skip
    rows = []
    for method in dict.fromkeys(r.method for r in results):
        own = [r for r in results if r.method == method]
        good = [r for r in own if r.reached(bench)]
        rows.append(
            (
                method, spread(own, lambda r: r.steps, ".0f"), spread(own, lambda r: r.maximum, ".4f"),
                spread(own, lambda r: r.ratio, ".2f"), spread(own, lambda r: r.seconds, ".1f"),
                f"{len(good)} of {len(own)}", f"{sum(r.connected for r in own)} of {len(own)}",
                f"{sum(r.steps <= bench.target for r in good)} of {len(own)}",
            )
        )  # fmt: skip
    line = [r.line for r in {r.pair: r for r in results}.values()]
    return f"{table(head, rows)}\n\nMaximum on the straight lines: {median(line):.2f} (median), {min(line):.2f} (least)"


def spread(results: Sequence[Result], value: Callable[[Result], float], form: str) -> str:
    """Median and worst of one number."""
    values = [value(r) for r in results]
    return f"{median(values):{form}}; {max(values):{form}}"


def yes(fact: bool) -> str:
    return "yes" if fact else "no"


def options(doc: str | None, methods: Sequence[str], arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line of a benchmark that compares these methods."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(BENCHES), default="digits/resnet")
    parser.add_argument("--pairs", type=int, help="how many (default: ten on digits, three on the others)")
    parser.add_argument("--first", type=int, default=0, help="number of the first pair")
    parser.add_argument("--methods", nargs="+", choices=methods, help="default: all that fit the task")
    parser.add_argument("--budget", type=int, help="gradient steps of one search at most")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the results here after each path, and resume from it")
    add_cache(parser)
    add_table(parser)
    return parser.parse_args(arguments)


def measure(asked: argparse.Namespace, task: Task, bench: Bench, methods: Mapping[str, LLPF]) -> dict[str, Any]:
    """Every path that the JSON file does not hold yet; its content."""
    held = json.loads(asked.json.read_text()) if asked.json and asked.json.is_file() else {"results": []}
    done = {(r["pair"], r["method"]) for r in held["results"]}
    compute, stem = Compute(asked.device), asked.task.replace("/", "_")
    for pair in range(asked.first, asked.first + bench.pairs):
        missing = [name for name in methods if (pair, name) not in done]
        if not missing:
            continue
        a, b = (trained(task, asked.cache / f"{stem}_{seed}.pt", seed, compute) for seed in (2 * pair, 2 * pair + 1))
        line = max(losses_on_line(Workspace(task, compute), a, b, points=24, sample=None))
        for name in missing:
            try:
                r = connect(task, a, b, bench, pair, name, methods[name], line, compute)
            except LLPFError as error:
                raise SystemExit(f"pair {pair}, {name}: {error}") from error
            print(f"pair {pair}, {name}: {r.steps} steps, maximum {r.maximum:.4f}, {r.seconds:.0f} s", flush=True)
            about = {"task": asked.task, "bench": asdict(bench), "measured": sessions(held)}
            held = {**about, "results": [*held["results"], asdict(r)]}
            if asked.json:
                write_json(asked.json, held)
    return held


def run(asked: argparse.Namespace, methods: Callable[[Task], Mapping[str, LLPF]], words: Sequence[str] | None) -> None:
    """Measure, and publish the tables; ``words`` are the command's arguments, None for those of this process."""
    bench = BENCHES[asked.task]
    bench = replace(bench, pairs=asked.pairs or bench.pairs, budget=asked.budget or bench.budget)
    task = load_task(asked.task, bench.arguments)
    own = methods(task)
    own = {name: own[name] for name in asked.methods or own}
    held = measure(asked, task, bench, own)
    results = [Result(**r) for r in held["results"] if r["method"] in own]
    title = f"{asked.task}, maximum to reach: {bench.max_loss:g}"
    text = "\n\n".join([title, summary(results, bench), "Every pair", each_pair(results, bench)])
    publish(text, asked.table, words, held["measured"])
