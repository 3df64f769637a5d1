"""What repairs are worth: LLPF at its defaults, without repairs, and the curve on the sphere in as many gradient steps.

Every pair is connected at the rate that the search finds. Run it at another commit for how that one repairs.

    python benchmarks/repairs.py --task digits/mlp digits/resnet --goals 0.1 0.05 --json repairs.json
    python benchmarks/repairs.py --task mnist/lenet5 --goals 0.1 --pairs 3 --json repairs.json
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from pairs import BENCHES
from provenance import add_table, publish, sessions
from shared import add_cache, table, trained

from llpf_plugin import LLPF, Compute, SphereCurve, find_path, load_task
from llpf_plugin.files import write_json

WHAT = ("LLPF", "LLPF without repairs", "curve on the sphere")


@dataclass(frozen=True)
class Result:
    """One path: what was asked for, and what came of it.

    Attributes:
        rounds: of repair.
        ratio: the path's length over the straight line's.
    """

    task: str
    goal: float
    what: str
    pair: int
    steps: int
    rounds: int
    maximum: float
    ratio: float
    connected: bool


def one(task: Any, ends: Sequence[Any], goal: float, what: str, pair: int, steps: int, budget: int) -> Result:
    """One path; a curve takes as many steps as LLPF took."""
    method: Any = {WHAT[0]: LLPF(), WHAT[1]: LLPF(repairs=0)}.get(what, SphereCurve())
    limit = steps if what == WHAT[2] else budget
    path = find_path(*ends, task, method, max_loss=goal, budget=limit, compute=Compute("cpu"))
    quality, cost = path.quality, path.cost
    return Result(
        task.name, goal, what, pair, cost.gradient_steps or 0, cost.repairs, quality.maximum, path.length_ratio,
        quality.connected,
    )  # fmt: skip


def report(results: Sequence[Result]) -> str:
    """A row for each task, goal and method."""
    rows = []
    for task, goal, what in dict.fromkeys((r.task, r.goal, r.what) for r in results):
        own = [r for r in results if (r.task, r.goal, r.what) == (task, goal, what)]
        rows.append((
            f"{task}, {goal:g}, {what}", f"{sum(r.connected for r in own)} of {len(own)}",
            f"{mean(r.steps for r in own):.0f}", " ".join(str(r.steps) for r in own),
            f"{mean(r.maximum for r in own):.3g}", f"{max(r.maximum for r in own):.3g}",
            f"{mean(r.ratio for r in own):.2f}",
        ))  # fmt: skip
    head = ("task, goal, method", "connected", "steps", "by pair", "maximum", "worst", "length")
    return table(head, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", default=["digits/mlp", "digits/resnet"])
    parser.add_argument("--goals", nargs="+", type=float, default=[0.1, 0.05])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--budget", type=int, default=3000, help="gradient steps of one search at most")
    parser.add_argument("--json", type=Path, help="write the results here after each path, and resume from it")
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    held = json.loads(asked.json.read_text()) if asked.json and asked.json.is_file() else {"results": []}
    for name in asked.task:
        task, stem = load_task(name, BENCHES[name].arguments if name in BENCHES else {}), name.replace("/", "_")
        for pair in range(asked.pairs):
            files = [asked.cache / f"{stem}_{seed}.pt" for seed in (2 * pair, 2 * pair + 1)]
            ends = [trained(task, file, int(file.stem.rpartition("_")[2]), Compute("cpu")) for file in files]
            for goal in asked.goals:
                for what in asked.methods:
                    done = {(r["task"], r["goal"], r["what"], r["pair"]): r["steps"] for r in held["results"]}
                    if (name, goal, what, pair) in done:
                        continue
                    steps = done.get((name, goal, WHAT[0], pair), asked.budget)
                    r = one(task, ends, goal, what, pair, max(1, steps), asked.budget)
                    print(f"{name}, pair {pair}, goal {goal:g}, {what}: {r.maximum:.3g} in {r.steps} steps", flush=True)
                    held = {"measured": sessions(held), "results": [*held["results"], asdict(r)]}
                    if asked.json:
                        write_json(asked.json, held)
    publish(report([Result(**r) for r in held["results"]]), asked.table, arguments, held.get("measured", []))


if __name__ == "__main__":
    main()
