"""The same work by the first edition and by this checkout, in turns: from two checkpoints to a verified verdict.

Both are what their users get: default settings and the same goal. The networks are trained by this checkout. Processor
time counts, the least of several turns; what a search came to stands beside it.

    git worktree add --detach /tmp/first-edition f5d3477
    python benchmarks/before.py /tmp/first-edition
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from provenance import ROOT, add_table, publish, stamp
from shared import add_cache, table, trained

from llpf_plugin import Compute, load_task

PAIRS: dict[str, tuple[dict[str, Any], float]] = {
    "digits/mlp": ({}, 0.1),
    "digits/resnet": ({}, 0.1),
    "digits/transformer": ({}, 0.1),
    "mnist/lenet5": ({"subset": 4000}, 0.1),
    "cifar10/resnet8": ({"subset": 2000, "width": 8}, 0.8),
}
"""Tasks that both editions have, with arguments and the goal."""


@dataclass(frozen=True)
class Edition:
    """A checkout, and how its command is called.

    Attributes:
        folder: of the checkout.
        start: a line of Python that runs the command.
        command: words before the models.
    """

    folder: Path
    start: str
    command: tuple[str, ...]

    def run(self, words: Sequence[str], place: Path) -> tuple[float, int]:
        """Processor seconds of the command, and its exit code."""
        path = os.pathsep.join(str(self.folder / part) for part in ("", "adapters"))
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        line = [sys.executable, "-c", self.start, *self.command, *words]
        done = subprocess.run(line, cwd=place, env=env, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in (0, 3):
            raise SystemExit(f"{self.folder}: {' '.join(words)} failed:\n{done.stderr[-2000:]}")
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.returncode


def ends(task: str, cache: Path) -> list[str]:
    """Two trained networks, as files."""
    arguments, _ = PAIRS[task]
    name = "-".join([task.replace("/", "-"), *(f"{k}={v}" for k, v in arguments.items())])
    places = [cache / "before" / name / f"{seed}.pt" for seed in range(2)]
    for seed, place in enumerate(places):
        trained(load_task(task, arguments), place, seed, Compute("cpu"))
    return [str(place) for place in places]


def words(task: str, models: Sequence[str], out: Path) -> list[str]:
    """What both editions understand."""
    arguments, goal = PAIRS[task]
    given = [word for key, value in arguments.items() for word in ("-t", f"{key}={value}")]
    return [*models, "--task", task, *given, "--max-loss", str(goal), "--device", "cpu", "--no-report", "-o", str(out)]


def came_to(code: int, out: Path) -> str:
    """The verdict of a run and its maximum."""
    quality = json.loads((out / "quality.json").read_text())
    maximum = quality["maximum"] if "maximum" in quality else quality["metrics"]["train"]["dense_maximum"]["value"]
    return f"{'connected' if code == 0 else 'not connected'}, {maximum:.3g}"


def compare(editions: Sequence[Edition], turns: int, cache: Path, tasks: Sequence[str]) -> list[Sequence[str]]:
    """One row for ``--help``, and one for each task."""
    rows = []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for task in ("", *tasks):
            models = ends(task, cache) if task else []
            seconds: list[list[float]] = [[], []]
            told = ["", ""]
            for turn in range(turns):
                for i, edition in enumerate(editions):
                    out = place / f"{task.replace('/', '-')}-{turn}-{i}"
                    spent, code = edition.run(words(task, models, out) if task else ["--help"], place)
                    seconds[i].append(spent)
                    told[i] = came_to(code, out) if task else ""
            before, after = map(min, seconds)
            row = (task or "`--help`", f"{before:.2f}", f"{after:.2f}", f"{after / before:.2f}", *told)
            print(" | ".join(row), flush=True)
            rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the first edition")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tasks", nargs="*", default=list(PAIRS), choices=list(PAIRS))
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    editions = (
        Edition(asked.before, "from llpf_merge.main import run; run()", ()),
        Edition(ROOT, "from llpf_cli.main import run; run()", ("merge",)),
    )
    head = ("from two files to a verdict", "before, s", "now, s", "ratio", "came to, before", "came to, now")
    rows = compare(editions, asked.turns, asked.cache, asked.tasks)
    publish(table(head, rows), asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
