"""What alignment makes of the straight line between two networks of many kinds, without any data.

The barrier is the line's maximum training loss minus the mean of its ends (Ainsworth et al., 2023), on a sample, with
BatchNorm's statistics re-estimated at every point. Every way to align is measured on the same ends. Pair ``i`` are the
networks trained from seeds ``2i`` and ``2i + 1``, kept in ``--cache``. One line a network, pair and way is appended to
a file of JSON lines; what it has is not measured again.

    LLPF_DATA=FOLDER python benchmarks/alignment.py run --networks gpt2 llama
    python benchmarks/alignment.py table
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from language import gpt2, llama
from matching import barrier, mnist_mlp
from provenance import add_table, publish, stamp
from shared import add_cache, table, trained

from llpf_plugin import Compute, Task, align, load_task
from llpf_plugin.alignment import Matching, match, permutations_only, symmetry
from llpf_plugin.evaluation import losses_on_line
from llpf_plugin.geometry import Weights, coordinates, distance, select
from llpf_plugin.workspace import Workspace

LINES = Path(__file__).parent / "results" / "alignment.jsonl"
"""Where the lines are kept."""

COMPUTE = Compute("cpu")
POINTS, SAMPLE = 10, 1000
"""Sub-segments of a line, and training examples that it is measured on."""


def recipe(task: str, arguments: Mapping[str, object], epochs: float | None = None) -> Task:
    """A built-in task, its ends trained over other epochs than its recipe's."""
    made = load_task(task, arguments)
    return made if epochs is None else replace(made, recipe=made.recipe.over(epochs))


NETWORKS: Mapping[str, Callable[[], Task]] = {
    "digits/mlp, 64": partial(recipe, "digits/mlp", {"width": 64}),
    "digits/mlp, 256": partial(recipe, "digits/mlp", {"width": 256}),
    "mnist/mlp, 64": partial(mnist_mlp, 64, None),
    "mnist/mlp, 256": partial(mnist_mlp, 256, None),
    "digits/resnet": partial(recipe, "digits/resnet", {}),
    "cifar10/resnet8": partial(recipe, "cifar10/resnet8", {"subset": 2000}, epochs=20),
    "digits/transformer": partial(recipe, "digits/transformer", {}),
    "cifar10/cct2": partial(
        recipe, "cifar10/cct2", {"width": 64, "side": 16, "subset": 2000, "augment": False}, epochs=60
    ),
    "gpt2": gpt2,
    "gpt2-untied": partial(gpt2, tied=False),
    "llama": llama,
}
"""Tasks by name; ends are trained by the task's recipe."""

PLAIN = "plain"


def permuted(a: Weights, b: Weights, task: Task) -> Matching:
    """As Git Re-Basin: units change places and nothing else is done to them."""
    return match(a, b, task.model, permutations_only(symmetry(task.model, task.example_inputs())))


WAYS: Mapping[str, Callable[[Weights, Weights, Task], Matching]] = {"permutations": permuted, "all symmetries": align}
"""How B is brought nearer to A, by name; ``plain`` is B as it is."""


@dataclass(frozen=True)
class Line:
    """One pair, aligned in one way.

    Attributes:
        network: a key of `NETWORKS`.
        pair: its number.
        way: a key of `WAYS`, or ``plain``.
        losses: the training loss at evenly spaced points of the straight line, both ends included.
        distance: Euclidean, between A and the aligned B over all coordinates.
        sweeps: of the matching, None for ``plain``.
        seconds: of the matching, None for ``plain``.
        measured: commit, machine, day.
    """

    network: str
    pair: int
    way: str
    losses: list[float]
    distance: float
    sweeps: int | None
    seconds: float | None
    measured: str

    @property
    def barrier(self) -> float:
        """The line's maximum over the mean of its ends."""
        return barrier(self.losses)


def ends(name: str, task: Task, pair: int, cache: Path) -> tuple[Weights, Weights]:
    """The two networks of a pair, trained where they are not kept."""
    folder = cache / "alignment" / name.replace(", ", "-").replace("/", "-")
    a, b = (trained(task, folder / f"{seed}.pt", seed, COMPUTE) for seed in (2 * pair, 2 * pair + 1))
    return a, b


def measure(name: str, task: Task, pair: int, way: str, a: Weights, b: Weights) -> Line:
    """Align one pair in one way, and go along the line."""
    sweeps, seconds, aligned = None, None, b
    if way != PLAIN:
        began = time.perf_counter()
        matching = WAYS[way](a, b, task)
        seconds, sweeps, aligned = time.perf_counter() - began, matching.sweeps, matching.weights
    losses = losses_on_line(Workspace(task, COMPUTE), a, aligned, POINTS, SAMPLE)
    own = list(coordinates(task.model))
    length = distance(select(a, own), select(aligned, own))
    return Line(name, pair, way, losses, length, sweeps, seconds, stamp())


def run(asked: argparse.Namespace) -> None:
    """Measure what the file of lines does not have."""
    for name in asked.networks:
        for pair in range(asked.pairs):
            done = {line.way for line in read(asked.lines) if (line.network, line.pair) == (name, pair)}
            missing = [way for way in (PLAIN, *WAYS) if way not in done]
            if not missing:
                continue
            task = NETWORKS[name]()
            a, b = ends(name, task, pair, asked.cache)
            for way in missing:
                line = measure(name, task, pair, way, a, b)
                append(asked.lines, line)
                print(f"{name}, pair {pair}, {way}: barrier {line.barrier:.4g}", flush=True)


def append(place: Path, line: Line) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(line)) + "\n")


def read(place: Path) -> list[Line]:
    text = place.read_text(encoding="utf-8") if place.is_file() else ""
    return [Line(**json.loads(line)) for line in text.splitlines()]


def report(lines: Sequence[Line]) -> str:
    """Three tables with a column for every way: barriers, distances, seconds."""
    return "\n\n".join(
        [
            f"Barrier of the training loss on {SAMPLE:,} examples, in brackets over that of the plain line",
            by_way(lines, lambda own, plain: f"{own.barrier:.4f} ({own.barrier / plain.barrier:.2f})", ends_loss),
            "Distance between A and the aligned B, in brackets over that before",
            by_way(lines, lambda own, plain: f"{own.distance:.2f} ({own.distance / plain.distance:.2f})"),
            "Seconds of the matching, in brackets its sweeps",
            by_way(lines, lambda own, plain: "–" if own.seconds is None else f"{own.seconds:.1f} ({own.sweeps})"),
        ]
    )


def ends_loss(plain: Line) -> tuple[str, str]:
    """The column of the ends' training losses."""
    return "loss of A, B", f"{plain.losses[0]:.4f}, {plain.losses[-1]:.4f}"


def by_way(
    lines: Sequence[Line], cell: Callable[[Line, Line], str], more: Callable[[Line], tuple[str, str]] | None = None
) -> str:
    """A table with a row for every pair and a column for every way.

    Args:
        lines: all of them.
        cell: of a way's line and the plain one of its pair.
        more: head and cell of one more column, from the plain line.
    """
    ways = [way for way in (PLAIN, *WAYS) if any(line.way == way for line in lines)]
    found = {(line.network, line.pair, line.way): line for line in lines}
    plains = sorted((line for line in lines if line.way == PLAIN), key=lambda line: list(NETWORKS).index(line.network))
    rows = []
    for plain in plains:
        own = [found.get((plain.network, plain.pair, way)) for way in ways]
        extra = [] if more is None else [more(plain)[1]]
        rows.append((f"{plain.network}, {plain.pair}", *extra, *("" if x is None else cell(x, plain) for x in own)))
    extra = [] if more is None else [more(plains[0])[0]]
    return table(("network, pair", *extra, *ways), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--lines", type=Path, default=LINES, help="the file of the lines")
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if asked.what == "run":
        run(asked)
    lines = [line for line in read(asked.lines) if line.network in asked.networks]
    if not lines:
        raise SystemExit(f"{asked.lines} has no line of these networks yet: run first")
    publish(report(lines), asked.table, arguments, [line.measured for line in lines])


if __name__ == "__main__":
    main()
