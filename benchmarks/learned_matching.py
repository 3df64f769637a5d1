"""What learned matching makes of the straight line between two networks, by its number of gradient steps.

The barrier is the line's maximum training loss minus the mean of its ends, on a sample, BatchNorm's statistics
re-estimated at every point: of the plain line, after weight matching, and after learned matching with the same settings
on every network. Every number of steps is a run of its own. Ends are trained by the task's recipe from seeds 0 and 1,
or read from files. One line a network is appended to a file of JSON lines.

    python benchmarks/learned_matching.py digits/transformer digits/mlp digits/resnet --steps 200 500 1000
    python benchmarks/learned_matching.py benchmarks/language.py:gpt2 -t tied=false --ends 0.pt 1.pt --steps 500
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from provenance import add_table, publish, stamp
from shared import add_cache, table, trained

from llpf_plugin import Compute, Task, align, find_path, load_task
from llpf_plugin.evaluation import losses_on_line
from llpf_plugin.geometry import Weights
from llpf_plugin.methods import LearnedMatching
from llpf_plugin.tasks.specification import parse_arguments
from llpf_plugin.workspace import Workspace

LINES = Path(__file__).parent / "results" / "learned_matching.jsonl"
"""Where the lines are kept."""

COMPUTE, POINTS = Compute("cpu"), 10
"""Where everything is computed; sub-segments of a line."""


@dataclass(frozen=True)
class Line:
    """One network.

    Attributes:
        network: name of its task.
        ends: training losses of A and B.
        plain, matched: barriers of the plain line, and after weight matching.
        learned: barriers after learned matching, by its gradient steps as text.
        seconds: a gradient step took at the largest number of them, the search's measurements aside.
        measured: commit, machine, day.
    """

    network: str
    ends: tuple[float, float]
    plain: float
    matched: float
    learned: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    measured: str = ""


def barrier(losses: Sequence[float]) -> float:
    """The line's maximum over the mean of its ends."""
    return max(losses) - (losses[0] + losses[-1]) / 2


def measure(task: Task, a: Weights, b: Weights, steps: Sequence[int], sample: int) -> Line:
    """The line between two networks in every way."""
    workspace, learned, seconds = Workspace(task, COMPUTE), dict[str, float](), 0.0
    plain, matched = (losses_on_line(workspace, a, end, POINTS, sample) for end in (b, align(a, b, task).weights))
    for number in sorted(steps):
        began = time.perf_counter()
        path = find_path(a, b, task, LearnedMatching(steps=number), points=1, sample=sample, compute=COMPUTE)
        seconds = (time.perf_counter() - began) / number
        learned[str(number)] = barrier(losses_on_line(workspace, a, path.end, POINTS, sample))
        print(task.name, number, f"{learned[str(number)]:.4f} {seconds:.3f} s a step", flush=True)
    return Line(task.name, (plain[0], plain[-1]), barrier(plain), barrier(matched), learned, seconds, stamp())


def read(place: Path) -> list[Line]:
    """What the file has, the lines of one network together."""
    text, found = place.read_text(encoding="utf-8") if place.is_file() else "", dict[str, Line]()
    for line in (Line(**json.loads(own)) for own in text.splitlines()):
        before = found.get(line.network, line)
        found[line.network] = replace(line, learned={**before.learned, **line.learned})
    return list(found.values())


def report(lines: Sequence[Line]) -> str:
    """A row for every network."""
    numbers = sorted({int(number) for line in lines for number in line.learned})
    head = ("network", "loss of A, B", "plain", "weights", *(f"learned, {n} steps" for n in numbers), "seconds a step")
    rows = []
    for line in lines:
        found = [line.learned.get(str(n)) for n in numbers]
        cells = ["" if own is None else f"{own:.4f}" for own in found]
        ends = f"{line.ends[0]:.4f}, {line.ends[1]:.4f}"
        rows.append((line.network, ends, f"{line.plain:.4f}", f"{line.matched:.4f}", *cells, f"{line.seconds:.2f}"))
    return table(head, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="as load_task takes them; none to print what the file has")
    parser.add_argument("-t", dest="arguments", action="append", default=[], help="key=value for the task")
    parser.add_argument("--ends", type=Path, nargs=2, help="state dicts of A and B, of one task")
    parser.add_argument("--steps", type=int, nargs="+", default=[200, 500, 1000])
    parser.add_argument("--sample", type=int, default=512, help="training examples that a line is measured on")
    parser.add_argument("--lines", type=Path, default=LINES, help="the file of the lines")
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in asked.tasks:
        task = load_task(name, parse_arguments(asked.arguments))
        folder = asked.cache / "learned-matching" / name.replace("/", "-").replace(":", "-")
        places = asked.ends or [folder / f"{seed}.pt" for seed in (0, 1)]
        a, b = (trained(task, place, seed, COMPUTE) for seed, place in enumerate(places))
        line = measure(task, a, b, asked.steps, asked.sample)
        asked.lines.parent.mkdir(parents=True, exist_ok=True)
        with asked.lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(vars(line)) + "\n")
    lines = read(asked.lines)
    if not lines:
        raise SystemExit(f"{asked.lines} has no line yet: name a task")
    publish(report(lines), asked.table, arguments, [line.measured for line in lines])


if __name__ == "__main__":
    main()
