"""How long ``--help`` of every command takes, beside that of the smallest program of the same command-line library.

Best of several runs in turns, with warm bytecode; a program with one option is what nobody can be quicker than.

    python benchmarks/startup.py
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from provenance import add_table, publish, stamp
from shared import table

from llpf_cli.texts import HELP

SMALLEST = '''
from cyclopts import App
app = App(name="smallest")
@app.default
def smallest(n: int = 1):
    """Do nothing."""
app(["--help"])
'''


def seconds(words: Sequence[str]) -> float:
    """Wall-clock time of a process."""
    start = time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    add_table(parser)
    asked = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        place = Path(folder) / "smallest.py"
        place.write_text(SMALLEST)
        llpf = [sys.executable, "-c", "from llpf_cli.main import run; run()"]
        programs = {"smallest": [sys.executable, str(place)], "llpf": [*llpf, "--help"]}
        programs |= {f"llpf {command}": [*llpf, command, "--help"] for command in HELP}
        turns = [{name: seconds(words) for name, words in programs.items()} for _ in range(asked.turns + 1)][1:]
    best = {name: min(turn[name] for turn in turns) for name in programs}
    rows = [(name, f"{own:.2f} s", f"{own / best['smallest']:.1f}") for name, own in best.items()]
    text = f"Best of {asked.turns}\n\n{table(('--help of', 'seconds', 'over the smallest (≤ 2)'), rows)}"
    publish(text, asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
