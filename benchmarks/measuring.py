"""What measuring costs beside walking, and how near its maximum is to that of measuring every place on all data.

Every path is found at default settings, measured coarse to fine as the search does it, and then once more with every
place on all data; both times include the ends and the choice of the merged model.

    python benchmarks/measuring.py --task digits/resnet
    python benchmarks/measuring.py --task mnist/lenet5
    python benchmarks/measuring.py --task cifar10/resnet8 --max-loss 0.5 --pairs 1 --methods llpf
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pairs import BENCHES, yes
from provenance import add_table, publish, sessions
from shared import add_cache, table, trained

from llpf_plugin import Compute, find_path, load_task, measure
from llpf_plugin.files import write_json

METHODS = ("llpf", "sphere-curve", "bezier", "autoneb", "linear", "finetune")


@dataclass(frozen=True)
class Result:
    """One path.

    Attributes:
        steps: gradient steps.
        places: measured.
        on_all_data: how many of them on all data.
        walking: seconds of the search without measuring.
        measuring: seconds, coarse to fine.
        exactly: seconds, every place on all data.
        eight: seconds of eight points on all data.
        maximum, exact: training loss, measured in each way.
        same: whether both come to the same verdict.
    """

    task: str
    pair: int
    method: str
    steps: int
    places: int
    on_all_data: int
    walking: float
    measuring: float
    exactly: float
    eight: float
    maximum: float
    exact: float
    same: bool


def one(task: Any, a: Any, b: Any, pair: int, method: str, goal: float, budget: int) -> Result:
    """Find a path, and measure it in both ways."""
    path = find_path(a, b, task, method, max_loss=goal, budget=budget, compute=Compute("cpu"))
    quality = path.quality
    _, picking = timed(quality.pick)
    exact, seconds = timed(lambda: measure(path, task, compute=Compute("cpu"), exact=True))
    _, picked = timed(exact.pick)
    spent = path.cost.spent
    walking = spent["walking"].seconds + spent["other"].seconds
    return Result(
        task.name, pair, method, path.cost.gradient_steps or 0, len(quality.rows),
        sum(row.sample is None for row in quality.rows), walking, spent["measuring"].seconds + picking,
        seconds + picked, 8 * seconds / (len(quality.rows) + 1), quality.maximum, exact.maximum,
        quality.connected == exact.connected,
    )  # fmt: skip


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What work gives, and the seconds that it takes."""
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def report(results: Sequence[Result]) -> str:
    """The paths, and what holds of all of them."""
    rows = []
    for r in results:
        off = r.maximum / r.exact - 1
        rows.append((
            f"{r.task}, {r.method}", str(r.pair), str(r.steps), f"{r.on_all_data} of {r.places}", f"{r.walking:.1f}",
            f"{r.measuring:.1f}", f"{r.exactly:.1f}", f"{r.eight:.1f}", f"{r.maximum:.4g}", f"{off:+.2%}", yes(r.same),
        ))  # fmt: skip
    head = (
        "path", "pair", "steps", "on all data", "walking, s", "measuring, s", "exactly, s", "eight points, s",
        "maximum", "off by", "same verdict",
    )  # fmt: skip
    worst = max(abs(r.maximum / r.exact - 1) for r in results)
    verdicts = sum(r.same for r in results)
    lines = [f"{len(results)} paths: maxima within {worst:.2%}, {verdicts} verdicts the same"]
    for task in dict.fromkeys(r.task for r in results):
        own = [r for r in results if r.task == task and r.method == "llpf"]
        if own:
            walking, before, after = (sum(getattr(r, k) for r in own) for k in ("walking", "exactly", "measuring"))
            shares = f"{after / walking:.0%} of the walk's time, exactly {before / walking:.0%}"
            lines.append(f"{task}, llpf: measuring takes {shares}")
    return "\n\n".join([*lines, table(head, rows)])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=sorted(BENCHES), default=["digits/resnet"])
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--budget", type=int, default=1000, help="gradient steps of one search at most")
    parser.add_argument("--max-loss", type=float, help="the goal [the benchmarks' own for the task]")
    parser.add_argument("--json", type=Path, help="write the results here after each path, and resume from it")
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    held = json.loads(asked.json.read_text()) if asked.json and asked.json.is_file() else {"results": []}
    done = {(r["task"], r["pair"], r["method"]) for r in held["results"]}
    for name in asked.task:
        task, stem = load_task(name, BENCHES[name].arguments), name.replace("/", "_")
        for pair in range(asked.pairs):
            own = [method for method in asked.methods if (name, pair, method) not in done]
            ends = (
                [trained(task, asked.cache / f"{stem}_{s}.pt", s, Compute("cpu")) for s in (2 * pair, 2 * pair + 1)]
                if own else []
            )  # fmt: skip
            for method in own:
                r = one(task, *ends, pair, method, asked.max_loss or BENCHES[name].max_loss, asked.budget)
                print(f"{name}, pair {pair}, {method}: {r.maximum:.4g} for {r.exact:.4g}", flush=True)
                held = {"measured": sessions(held), "results": [*held["results"], asdict(r)]}
                if asked.json:
                    write_json(asked.json, held)
    publish(report([Result(**r) for r in held["results"]]), asked.table, arguments, held["measured"])


if __name__ == "__main__":
    main()
