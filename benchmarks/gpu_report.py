"""What `gpu_resnet18.py` has measured so far, in words and as a table."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared import SCHEDULES, table

from llpf_plugin import LLPF

SEEDS = (0, 1)
PACES = {"adaptive": LLPF(), "fixed": LLPF(schedule=str(SCHEDULES / "resnet18-coarse.yaml"), repairs=3)}
"""The walks that are compared, by the names of their results."""


def report(asked: argparse.Namespace) -> None:
    """Print what has been measured so far."""
    found = {name: read(asked.folder / f"{name}.json") for name in ("seed0", "seed1", "bare", *PACES)}
    if plain := found["bare"]:
        print(f"{plain['machine']}; bare training {plain['rate']:.1f} steps/s, peak {memory([plain['peak']])}")
    for name in ("seed0", "seed1"):
        if end := found[name]:
            print(
                f"{name}: trained in {end['minutes']:.1f} minutes to training loss {end['train']['loss']:.4f}, "
                f"test accuracy {end['test']['accuracy']:.2%}"
            )
    head = (
        "pace", "outcome", "minutes", "steps", "steps/s", "of bare", "dense maximum", "length ratio", "connected",
        "peak memory",
    )  # fmt: skip
    rows = [row(asked, pace, path, found["bare"]) for pace in PACES if (path := found[pace])]
    print("", table(head, rows), sep="\n")


def row(asked: argparse.Namespace, pace: str, path: Mapping[str, Any], plain: Mapping[str, Any]) -> tuple[str, ...]:
    """One pace's line of the report."""
    sessions = read(asked.folder / f"{pace}-sessions.json")["sessions"]
    walked = sum(s["walked"] for s in sessions)
    rate = sum(s["steps"] for s in sessions) / walked if walked else float("nan")
    return (
        pace, str(path["outcome"]), f"{path['minutes']:.1f}", str(path["steps"]), f"{rate:.1f}",
        f"{rate / plain['rate']:.0%}" if plain else "–", f"{path['maximum']:.4f}", f"{path['length_ratio']:.2f}",
        "yes" if path["connected"] else "no", memory([s["peak"] for s in sessions]),
    )  # fmt: skip


def memory(peaks: Sequence[int | None]) -> str:
    """The largest peak in words."""
    known = [p for p in peaks if p is not None]
    return f"{max(known) / 2**30:.2f} GiB" if known else "–"


def read(place: Path) -> dict[str, Any]:
    """A JSON file, empty if there is none."""
    return json.loads(place.read_text()) if place.is_file() else {}
