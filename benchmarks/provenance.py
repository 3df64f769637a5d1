"""Where numbers come from: the machine, the commit, the command that a table stands under."""

import platform
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from llpf_plugin.files import atomic_write

CODE = ("llpf_plugin", "adapters", "benchmarks/*.py", "benchmarks/schedules")
"""What a benchmark's numbers depend on, from the root of the repository."""

ROOT = Path(__file__).parents[1]


def machine(device: torch.device | str = "cpu") -> str:
    """The device, the number of CPU threads and the version of torch, in one line."""
    device = torch.device(device)
    cpu = f"{_processor()}, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    return f"{name}, torch {torch.__version__}"


def _processor() -> str:
    """The CPU's name, its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} CPU"


def stamp(device: torch.device | str = "cpu") -> str:
    """What numbers that are measured now depend on: the commit, the machine, the day."""
    return f"commit {_commit()}, {machine(device)}, {date.today().isoformat()}"


def _commit() -> str:
    """The commit of the checkout, with a word where its code was changed since."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + " and changes" * bool(_git("status", "--porcelain", "--untracked-files=no", "--", *CODE))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def sessions(held: Mapping[str, Any]) -> list[str]:
    """The stamps that a file of results holds, and the one of now."""
    return list(dict.fromkeys([*held.get("measured", []), stamp()]))


def add_table(parser: ArgumentParser) -> None:
    """The option that `publish` obeys."""
    parser.add_argument("--table", type=Path, help="also write the tables here, under the command and the commit")


def publish(text: str, place: Path | None, words: Sequence[str] | None, stamps: Sequence[str]) -> None:
    """Print tables under a line that says where they come from, and write both to a file.

    Args:
        text: the tables.
        place: the file, None to print only.
        words: the command's arguments, None for those of this process.
        stamps: of the sessions that measured, as `stamp` made them.
    """
    words = sys.argv[1:] if words is None else words
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_without_table(words)])
    text = f"`{command}`: {'; '.join(dict.fromkeys(stamps))}\n\n{text}\n"
    print(f"\n{text}", end="")
    if place is not None:
        atomic_write(place, lambda target: target.write_text(text, encoding="utf-8"))


def _without_table(words: Sequence[str]) -> list[str]:
    """The arguments that the numbers depend on."""
    kept = list(words)
    if "--table" in kept:
        at = kept.index("--table")
        del kept[at : at + 2]
    return kept
