"""How well paths across variance spheres are found: modes trained with different weight decay.

Pair ``i`` of a kind are the networks trained from seeds ``2i`` and ``2i + 1`` with the weight decays that the kind
names; they are trained once and kept in ``--cache``. Every maximum is that of the dense path (four points per segment)
on the whole training set. The goal is twice the maximum of the same-sphere pairs, whose paths have the task's goal.
CIFAR-10's paths are measured at two points per segment on 2,000 of the 4,000 images; convolutions are in bfloat16,
channels last. A second call with the same ``--json`` resumes where the first one stopped.

    python benchmarks/spheres.py pairs --task digits/resnet
    python benchmarks/spheres.py pairs --task digits/transformer
    python benchmarks/spheres.py limits --figure docs/spheres.png
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from limits import limits
from modes import mode
from pairs import yes
from provenance import add_table, publish, sessions, stamp
from shared import add_cache, table

from llpf_plugin import LLPF, Compute, LLPFError, Task, find_path, load_task
from llpf_plugin.evaluation import losses_on_line
from llpf_plugin.files import write_json
from llpf_plugin.geometry import NEAR, Weights, coordinates, select
from llpf_plugin.preflight import layer_statistics
from llpf_plugin.quality import leg_summaries
from llpf_plugin.workspace import Workspace

METHODS: Mapping[str, LLPF] = {
    "across": LLPF(across="always"),
    "without exact legs": LLPF(across="always", exact_legs=False),
    "… and AngleConformal": LLPF(across="always", exact_legs=False, angle_conformal=False),
    "plain M2M": LLPF(across="never"),
}

KINDS = {"5e-4 / 5e-4": (5e-4, 5e-4), "5e-4 / 1e-4": (5e-4, 1e-4), "5e-4 / 0": (5e-4, 0.0), "5e-3 / 0": (5e-3, 0.0)}
"""Weight decay of A and of B; the first kind lies on one sphere."""

SAME = "5e-4 / 5e-4"


@dataclass(frozen=True)
class Bench:
    """A task with what is asked of the paths on it.

    Attributes:
        arguments: of the task's factory.
        max_loss: the goal for the dense maximum.
        budget: of gradient steps.
        threshold: of settling, None for the method's own.
        measured: how paths are measured, where that is not `find_path`'s way.
        compute: where and how gradients are computed.
    """

    arguments: Mapping[str, Any]
    max_loss: float
    budget: int
    threshold: float | None = None
    measured: Mapping[str, int] = field(default_factory=dict)
    compute: Compute = Compute("cpu")  # noqa: RUF009


BENCHES = {
    "digits/resnet": Bench({}, max_loss=0.06, budget=3000),
    "digits/transformer": Bench({}, max_loss=0.15, budget=10_000),
    "cifar10/resnet8": Bench(
        {"subset": 4000}, 0.25, 4000, 0.19, {"points": 2, "sample": 2000},
        Compute("cpu", "bfloat16", channels_last=True),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One method on one pair.

    Attributes:
        kind: weight decay of A and B.
        ratios: least and greatest variance of B over A's, over the tensors of ≥ 2 dimensions.
        line: the maximum training loss on the straight line.
        maximum: that on the path.
        legs: one mapping per leg, of `llpf_plugin.quality.LegSummary`.
        steps: gradient steps, repairs included.
        far: the largest relative distance of a layer to its destination at the last settled knot.
        criteria: whether each of the three holds.
    """

    kind: str
    method: str
    pair: int
    ratios: tuple[float, float]
    line: float
    maximum: float
    legs: list[dict[str, Any]]
    steps: int
    repairs: int
    seconds: float
    far: float
    criteria: tuple[bool | None, ...]
    outcome: str


def connect(task: Task, a: Weights, b: Weights, goal: float, bench: Bench, kind: str, method: str, pair: int) -> Result:
    """Search one path and measure it."""
    names = list(coordinates(task.model))
    ratios = [row.ratio for row in layer_statistics(select(a, names), select(b, names))]
    sample = bench.measured.get("sample")
    line = max(losses_on_line(Workspace(task, bench.compute), a, b, points=24, sample=sample))
    llpf = replace(METHODS[method], threshold=bench.threshold)
    path = find_path(
        a, b, task, llpf, max_loss=goal, budget=bench.budget, compute=bench.compute, measure="exact", **bench.measured
    )
    quality, cost = path.quality, path.cost
    return Result(
        kind, method, pair, (min(ratios), max(ratios)), line, quality.maximum,
        [leg.to_json() for leg in leg_summaries(path, quality.rows)],
        cost.gradient_steps, cost.repairs, cost.seconds, max(quality.arrival.values()),
        tuple(c.holds for c in quality.criteria), path.outcome.name if path.outcome else "",
    )  # fmt: skip


def each(results: Sequence[Result]) -> str:
    """The table of all results; the maximum of every leg stands in the order of the path."""
    head = (
        "weight decay A / B", "method", "pair", "variance B/A", "line", "steps", "maximum", "by leg", "repairs",
        "arrived", "three criteria",
    )  # fmt: skip
    rows = []
    for r in results:
        own = "; ".join(f"{leg['leg'].replace(' ', '')} {leg['maximum']:.3f}" for leg in r.legs) or "–"
        ratios, held = f"{r.ratios[0]:.2f} to {r.ratios[1]:.2f}", all(c is not False for c in r.criteria)
        rows.append(
            (
                r.kind, r.method, str(r.pair), ratios, f"{r.line:.2f}", str(r.steps), f"{r.maximum:.4f}", own,
                str(r.repairs), yes(r.far <= NEAR), yes(held),
            )
        )  # fmt: skip
    return table(head, rows)


def summary(results: Sequence[Result], goals: Mapping[str, float]) -> str:
    """One line a kind and method: medians, worst cases, and how many reached the goal with all three criteria."""
    head = ("weight decay A / B", "method", "goal", "steps (median; worst)", "maximum (median; worst)", "connected")
    rows = []
    for kind, method in dict.fromkeys((r.kind, r.method) for r in results):
        own = [r for r in results if (r.kind, r.method) == (kind, method)]
        steps, maxima = [r.steps for r in own], [r.maximum for r in own]
        good = sum(all(c is not False for c in r.criteria) for r in own)
        rows.append(
            (
                kind, method, f"{goals[kind]:.4f}", f"{median(steps):.0f}; {max(steps)}",
                f"{median(maxima):.4f}; {max(maxima):.4f}", f"{good} of {len(own)}",
            )
        )  # fmt: skip
    return table(head, rows)


def stored(place: Path | None) -> dict[str, Any]:
    """What an earlier call has written."""
    return json.loads(place.read_text()) if place is not None and place.is_file() else {"results": []}


def result(row: Mapping[str, Any]) -> Result:
    """A result as the file has it."""
    return Result(**{**row, "ratios": tuple(row["ratios"]), "criteria": tuple(row["criteria"])})


def pairs(asked: argparse.Namespace) -> tuple[str, list[str]]:
    """Tables and stamps of pairs of different weight decay, and of the same-sphere pairs that give their goal."""
    bench = BENCHES[asked.task]
    task = load_task(asked.task, bench.arguments)
    if asked.budget:
        bench = replace(bench, budget=asked.budget)
    held = stored(asked.json)
    results = [result(row) for row in held["results"]]
    goals = {SAME: bench.max_loss}
    for kind in dict.fromkeys([SAME, *asked.kinds]):
        if kind != SAME:
            goals[kind] = 2 * max(r.maximum for r in results if r.kind == SAME)
        for pair in range(asked.pairs):
            a, b = (mode(task, 2 * pair + i, asked.cache, KINDS[kind][i], compute=bench.compute) for i in (0, 1))
            for method in ["plain M2M"] if kind == SAME else asked.methods:
                if any((r.kind, r.pair, r.method) == (kind, pair, method) for r in results):
                    continue
                try:
                    results.append(connect(task, a, b, goals[kind], bench, kind, method, pair))
                except LLPFError as error:
                    raise SystemExit(f"{kind}, pair {pair}, {method}: {error}") from error
                r = results[-1]
                print(f"{kind}, pair {pair}, {method}: {r.steps} steps, {r.maximum:.4f}, {r.seconds:.0f} s", flush=True)
                held = {"task": asked.task, "goals": goals, "measured": sessions(held)}
                if asked.json:
                    write_json(asked.json, {**held, "results": [asdict(r) for r in results]})
    return "\n\n".join([asked.task, each(results), summary(results, goals)]), held["measured"]


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pairs", "limits"])
    parser.add_argument("--task", choices=sorted(BENCHES), default="digits/resnet")
    parser.add_argument("--pairs", type=int, default=3, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=[k for k in KINDS if k != SAME])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--budget", type=int, help="gradient steps of one search at most")
    parser.add_argument("--figure", type=Path, default=Path("spheres.png"), help="of limits: where to draw it")
    parser.add_argument("--json", type=Path, help="write the results here after each path, and resume from it")
    add_cache(parser)
    add_table(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    if asked.what == "pairs":
        text, stamps = pairs(asked)
    else:
        text, stamps = limits(asked.cache, asked.pairs, asked.figure, asked.json), [stamp()]
    publish(text, asked.table, arguments, stamps)


if __name__ == "__main__":
    main()
