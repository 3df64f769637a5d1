"""Reproduce a row of the paper, with one command: train the ends, connect every pair, measure.

One line a pair is appended to a file of JSON lines. Whatever stops the command, the same command goes on from there,
within a pair too; what a file has is not done again. Five ends make ten pairs. Several such commands at once share the
pairs: each takes those that no other one has begun.

    python benchmarks/reproduce.py mnist/lenet5 --pairs 10 --schedule paper
    python benchmarks/reproduce.py mnist/lenet5 --pairs 10 --schedule adaptive --max-loss 0.1
    python benchmarks/reproduce.py cifar10/vgg11 -t subset=4000 -t width=16 --epochs 20 --minutes 20
    python benchmarks/reproduce.py cifar10/resnet20 --epochs 30 --budget 2000 --method sphere-curve --align
    python benchmarks/reproduce.py table
    python benchmarks/reproduce.py figure mnist/lenet5 -o lenet5.svg
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from provenance import add_table
from reproduction import Deadline, Line, Row, one_pair, pairs_of, read_lines
from reproduction_report import draw, report
from shared import add_cache

from llpf_plugin import LLPF, Compute
from llpf_plugin.errors import InterruptedRun, InUseError, LLPFError
from llpf_plugin.runs import held_file
from llpf_plugin.search import SearchOptions
from llpf_plugin.tasks.specification import parse_arguments

LINES = Path(__file__).parent / "results" / "reproduce.jsonl"
"""Where the lines are kept."""


def reproduce(asked: argparse.Namespace) -> None:
    """Measure the pairs that are missing, until the time is over."""
    options = SearchOptions(
        asked.max_loss, budget=asked.budget, batch_size=asked.batch_size, sample=asked.sample, measure=asked.measure
    )
    arguments = parse_arguments(asked.t)
    row = Row(
        asked.what, arguments, asked.schedule, asked.epochs, options, asked.places, asked.curve,
        asked.method, asked.align,
    )  # fmt: skip
    compute = Compute(asked.device, asked.precision, channels_last=asked.channels_last)
    deadline = Deadline(asked.minutes)
    row.configured()  # a schedule that does not exist is told of before anything is trained
    for number, pair in enumerate(pairs_of(asked.pairs)):
        try:
            with held_file(row.folder(asked.cache, pair)):
                if any(row.has(line) and line.pair == pair for line in read_lines(asked.lines)):
                    continue
                print(f"{row.task}, {row.way}, pair {pair[0]}-{pair[1]}", flush=True)
                line = one_pair(row, pair, asked.cache, compute, deadline, dense=number == 0)
                append(asked.lines, line)
        except InUseError as error:
            print(f"  left to another process: {error}", flush=True)
        except InterruptedRun:
            print(f"{asked.minutes:g} minutes are over; run the same command again to continue")
            return
        else:
            print(f"  maximum {line.maximum:.4g} after {line.steps} steps, connected: {line.connected}", flush=True)


def append(place: Path, line: Line) -> None:
    """Add a line to the file, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line.to_json()) + "\n")


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", metavar="TASK | table | figure", help="a task such as mnist/lenet5; or what to print")
    parser.add_argument("of", nargs="?", metavar="TASK", help="the task of a figure")
    parser.add_argument("-t", action="append", default=[], metavar="KEY=VALUE", help="an argument of the task")
    parser.add_argument("--pairs", type=int, default=1, help="how many pairs; five ends make ten [%(default)s]")
    parser.add_argument("--schedule", default="adaptive", help="paper, adaptive, or a shipped schedule [%(default)s]")
    parser.add_argument("--method", default=LLPF.name, help="another one than LLPF, which has no schedule")
    parser.add_argument("--align", action="store_true", help="bring B's units nearest to A's first")
    parser.add_argument("--minutes", type=float, help="stop after this many")
    parser.add_argument("--epochs", type=float, help="of the ends [the paper's recipe]")
    parser.add_argument("--max-loss", type=float, help="the goal [the task's tolerance above the worse end]")
    parser.add_argument("--budget", type=int, default=SearchOptions.budget, help="gradient steps at most")
    parser.add_argument("--sample", type=int, help="training examples that a path is judged by [all]")
    parser.add_argument("--batch-size", type=int, help="of the ends' training and the search [the paper's]")
    parser.add_argument("--places", type=int, default=Row.places, help="of a path in the figure [%(default)s]")
    parser.add_argument("--curve", type=int, default=Row.sample, help="examples of each such place [%(default)s]")
    parser.add_argument("--measure", default="auto", help="auto or exact, as in llpf merge")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float32", choices=("float32", "tf32", "bfloat16", "float16"))
    parser.add_argument("--channels-last", action="store_true", help="faster convolutions, on some machines")
    parser.add_argument("--lines", type=Path, default=LINES, help="the file of the lines")
    parser.add_argument("-o", "--output", type=Path, default=Path("reproduce.svg"), help="the figure's file")
    add_cache(parser)
    add_table(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    try:
        if asked.what == "table":
            report(read_lines(asked.lines), asked.table, arguments)
        elif asked.what == "figure":
            draw(read_lines(asked.lines), asked.of, asked.output)
        else:
            reproduce(asked)
    except LLPFError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
