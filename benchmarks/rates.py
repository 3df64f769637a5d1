"""The learning rate that a search finds, beside every fixed one: do both connect, and in how many gradient steps?

Pairs of small networks of many kinds (`small_networks`), trained by SGD and by AdamW. Fixed rates are two a decade;
they are tried from the found one outwards, none with more steps than the best so far took, and no further in a
direction once two have failed there and one has connected.

    python benchmarks/rates.py --json rates.jsonl
"""

import argparse
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import torch
from provenance import add_table, publish, stamp
from shared import add_cache, table
from small_networks import CASES, Case, pair

from llpf_plugin import LLPF, Compute, find_path

FIXED = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003, 0.00001)
FOUND, DEFAULT = "found", "task's"
BUDGET, SAMPLE, POINTS = 1000, 300, 2
"""Of every search: gradient steps, training examples measured on, points per segment."""


@dataclass(frozen=True)
class Result:
    """One search.

    Attributes:
        case, optimizer, pair: the pair of networks.
        rule: ``found``, the ``task's`` default, or ``fixed``.
        lr: the learning rate.
        steps: gradient steps, those that found the rate included.
        look: gradient steps that found the rate.
        connected: the verdict.
        maximum: training loss on the path.
        outcome: of the walk.
        falls: how often a collapse lowered the rate.
        stamp: where it was measured.
    """

    case: str
    optimizer: str
    pair: int
    rule: str
    lr: float
    steps: int
    look: int
    connected: bool
    maximum: float
    outcome: str
    falls: int
    stamp: str


def search(case: Case, a: Any, b: Any, lr: float | None, budget: int) -> dict[str, Any]:
    """Connect a pair at a given rate, or at one that is found."""
    options = {"tolerance": case.tolerance, "points": POINTS, "sample": SAMPLE, "compute": Compute("cpu")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = find_path(a, b, case.task(), LLPF(), budget=budget, lr=lr, **options)
    rate = path.cost.rate
    return {
        "lr": rate.value, "steps": path.cost.gradient_steps, "look": rate.steps, "falls": rate.falls,
        "connected": path.quality.connected, "maximum": path.quality.maximum, "outcome": path.outcome.name,
    }  # fmt: skip


def measure(name: str, optimizer: str, number: int, done: Sequence[Result], cache: Path) -> Iterator[Result]:
    """Every search on one pair that is not done yet."""
    case, results = CASES[name], list(done)
    a, b = pair(name, optimizer, number, cache)

    def run(rule: str, lr: float | None, budget: int = BUDGET) -> Result:
        found = search(case, a, b, lr, budget)
        results.append(Result(name, optimizer, number, rule, **found, stamp=stamp()))
        return results[-1]

    if not any(r.rule == FOUND for r in results):
        yield run(FOUND, None)
    middle = next(r.lr * 4.0**r.falls for r in results if r.rule == FOUND)
    if not any(r.rule == DEFAULT for r in results):
        yield run(DEFAULT, case.task().defaults.lr)
    for lr in sorted(FIXED, key=lambda lr: abs(math.log(lr / middle))):
        fixed = [r for r in results if r.rule == "fixed"]
        best = min((r.steps for r in fixed if r.connected), default=None)
        failed = sum(not r.connected and (r.lr > middle) == (lr > middle) for r in fixed)
        if not (any(r.lr == lr for r in fixed) or (best is not None and failed >= 2)):
            yield run("fixed", lr, best or BUDGET)


def each(results: Sequence[Result]) -> Iterator[tuple[Result, Result, Result | None]]:
    """Of every pair the search that found its rate, the one at the task's, and the best one at a fixed rate."""
    pairs: dict[tuple[str, str, int], list[Result]] = {}
    for r in results:
        pairs.setdefault((r.case, r.optimizer, r.pair), []).append(r)
    for own in pairs.values():
        found, default = (next(r for r in own if r.rule == rule) for rule in (FOUND, DEFAULT))
        fixed = [r for r in own if r.rule == "fixed" and r.connected]
        yield found, default, min(fixed, key=lambda r: r.steps, default=None)


def cell(result: Result | None) -> str:
    """Steps and rate, or that it failed."""
    if result is None:
        return "none"
    return f"{result.steps if result.connected else 'no'} at {result.lr:.2g}"


def ratio(found: Result, best: Result | None) -> float | None:
    """Steps of the found rate over those of the best fixed one, where both connect."""
    return found.steps / best.steps if best is not None and found.connected else None


def pairs_table(results: Sequence[Result]) -> str:
    """One line a pair."""
    rows = [
        (
            f"{f.case}, {f.optimizer}, {f.pair}", cell(f), str(f.look), cell(d), cell(b),
            "–" if (q := ratio(f, b)) is None else f"{q:.2f}",
        )
        for f, d, b in each(results)
    ]  # fmt: skip
    return table(("pair", "found", "look", "task's", "best fixed", "found over best"), rows)


def summary(results: Sequence[Result]) -> str:
    """One line a kind of network and optimizer."""
    kinds: dict[tuple[str, str], list[tuple[Result, Result, Result | None]]] = {}
    for triple in each(results):
        kinds.setdefault((triple[0].case, triple[0].optimizer), []).append(triple)
    rows = []
    for (case, optimizer), own in kinds.items():
        quotients = [q for f, _, b in own if (q := ratio(f, b)) is not None]
        rates = [f.lr for f, _, _ in own]
        rows.append(
            (
                f"{case}, {optimizer}", f"{min(rates):.2g} to {max(rates):.2g}",
                *(f"{sum(r is not None and r.connected for r in rs)} of {len(own)}" for rs in zip(*own, strict=True)),
                f"{geometric_mean(quotients):.2f}" if quotients else "–",
                f"{sum(q <= 1.5 for q in quotients)} of {sum(b is not None for *_, b in own)}",
            )
        )  # fmt: skip
    head = (
        "networks", "found rates", "found connects", "task's connects", "a fixed one connects",
        "steps over the best fixed", "within 1.5 times",
    )  # fmt: skip
    return table(head, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path, required=True, help="results, a line each; what is there is not run again")
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    lines = asked.json.read_text().splitlines() if asked.json.is_file() else []
    results = [Result(**json.loads(line)) for line in lines]
    for number in range(asked.pairs):
        for name in asked.cases:
            for optimizer in optimizers(CASES[name]):
                own = [r for r in results if (r.case, r.optimizer, r.pair) == (name, optimizer, number)]
                for r in measure(name, optimizer, number, own, asked.cache / "rates"):
                    results.append(r)
                    print(f"{name}, {optimizer}, {number}: {r.rule} {cell(r)}", flush=True)
                    with asked.json.open("a") as file:
                        file.write(json.dumps(asdict(r)) + "\n")
    kept = [r for r in results if r.case in asked.cases and r.pair < asked.pairs]
    text = "\n\n".join([summary(kept), "Every pair, gradient steps", pairs_table(kept)])
    publish(text, asked.table, arguments, [r.stamp for r in kept])


def optimizers(case: Case) -> Mapping[str, float]:
    """The ways to train a case's networks, with their peak rates."""
    return {name: peak for name, peak in (("SGD", case.sgd), ("AdamW", case.adamw)) if peak is not None}


if __name__ == "__main__":
    main()
