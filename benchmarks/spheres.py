"""How well paths across variance spheres are found: modes trained with other weight decay, or none, or to sharp minima.

Pair ``i`` of a kind are the networks trained from seeds ``2i`` and ``2i + 1`` with the weight decays that the kind
names; they are trained once and kept in ``--cache``. Every maximum is that of the dense path (four points a segment)
on the whole training set. The goal is twice the maximum of the same-sphere pairs, whose paths have the task's goal.
CIFAR-10's paths are measured at two points a segment on 2,000 of the 4,000 images; convolutions are in bfloat16,
channels last. A second call with the same ``--json`` goes on where the first one stopped.

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

from connect import yes
from limits import limits
from modes import mode
from shared import machine, table

from llpf_plugin import Compute, LLPFError, Settings, Task, find_path, load_task
from llpf_plugin.evaluation.along_path import linear_losses
from llpf_plugin.files import write_json
from llpf_plugin.geometry.weights import NEAR, Weights, coordinates, select
from llpf_plugin.llpf import common_spheres as legs
from llpf_plugin.preflight import layer_statistics
from llpf_plugin.workspace import Gradient

METHODS: Mapping[str, Mapping[str, Any]] = {
    "across": {"across": "always"},
    "without exact legs": {"across": "always", "exact_legs": False},
    "… and AngleConformal": {"across": "always", "exact_legs": False, "angle_conformal": False},
    "plain M2M": {"across": "never"},
}
"""What each method asks of `find_path`."""

KINDS = {"5e-4 / 5e-4": (5e-4, 5e-4), "5e-4 / 1e-4": (5e-4, 1e-4), "5e-4 / 0": (5e-4, 0.0), "5e-3 / 0": (5e-3, 0.0)}
"""Weight decay of A and of B; the first kind lies on one sphere."""

SAME = "5e-4 / 5e-4"


@dataclass(frozen=True)
class Bench:
    """A task with what is asked of the paths on it: the goal for the dense maximum and the budget of gradient steps."""

    arguments: Mapping[str, Any]
    max_loss: float
    budget: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    compute: Compute = Compute("cpu")  # noqa: RUF009


BENCHES = {
    "digits/resnet": Bench({}, max_loss=0.06, budget=3000),
    "digits/transformer": Bench({}, max_loss=0.15, budget=10_000),
    "cifar10/resnet8": Bench(
        {"subset": 4000}, 0.25, 4000, {"threshold": 0.19, "points": 2, "sample": 2000},
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
        legs: one mapping a leg, as in `legs.summary`.
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
    """One path, and what became of it."""
    names = list(coordinates(task.model))
    ratios = [row.ratio for row in layer_statistics(select(a, names), select(b, names))]
    sample = bench.settings.get("sample")
    line = max(linear_losses(Gradient(task, bench.compute), a, b, points=24, sample=sample))
    settings = Settings(max_loss=goal, budget=bench.budget, **bench.settings, **METHODS[method])
    path = find_path(a, b, task, settings, compute=bench.compute)
    quality, cost = path.quality, path.cost
    return Result(
        kind, method, pair, (min(ratios), max(ratios)), line, quality.maximum, legs.summary(path, quality.rows),
        cost["gradient_steps"], cost["repairs"], cost["seconds"], max(quality.arrival.values()),
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


def stored(place: Path | None) -> list[Result]:
    """What an earlier call has measured."""
    if place is None or not place.is_file():
        return []
    rows = json.loads(place.read_text())["results"]
    return [Result(**{**r, "ratios": tuple(r["ratios"]), "criteria": tuple(r["criteria"])}) for r in rows]


def pairs(asked: argparse.Namespace) -> None:
    """Pairs of other weight decay, after the same-sphere pairs that their goal is taken from."""
    bench = BENCHES[asked.task]
    task = load_task(asked.task, bench.arguments)
    if asked.budget:
        bench = replace(bench, budget=asked.budget)
    results = stored(asked.json)
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
                if asked.json:
                    everything = {"task": asked.task, "goals": goals, "machine": machine("cpu")}
                    write_json(asked.json, {**everything, "results": [asdict(r) for r in results]})
    print(f"\n{asked.task}; {machine('cpu')}\n")
    print(each(results), "", summary(results, goals), sep="\n")


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pairs", "limits"])
    parser.add_argument("--task", choices=sorted(BENCHES), default="digits/resnet")
    parser.add_argument("--pairs", type=int, default=3, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=[k for k in KINDS if k != SAME])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--budget", type=int, help="gradient steps of one search at most")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "llpf-bench", help="trained networks")
    parser.add_argument("--figure", type=Path, default=Path("spheres.png"), help="of limits: where to draw it")
    parser.add_argument("--json", type=Path, help="write the results here after each path, and go on from it")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    pairs(asked) if asked.what == "pairs" else limits(asked.cache, asked.pairs, asked.figure, asked.json)


if __name__ == "__main__":
    main()
