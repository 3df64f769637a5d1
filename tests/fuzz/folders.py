"""Run folders that were edited, damaged, or put together by somebody who wants something of their reader."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fuzz import mutate
from llpf_plugin.runs.tensors import checked_state, write_state, write_tensors

DOCUMENTS = ("run.json", "state.json", "path.json", "path.before.json", "quality.json", "tree.json", "report.json")


def edited(random: Random, folder: Path) -> None:
    """A document with other values; a state's digest is made anew, so that it is believed."""
    place = random.choice(
        [file for file in sorted(folder.rglob("*.json")) if file.name in DOCUMENTS and file.is_file()]
    )
    document = mutate.document_of(random, json.loads(place.read_text()))
    place.write_text(mutate.text_of(document))
    if place.name == "state.json" and isinstance(document, dict) and random.random() < 0.8:
        try:
            write_state(place, checked_state(place, {k: v for k, v in document.items() if k != "digest"}))
        except (TypeError, ValueError):
            place.write_text(mutate.text_of(document))


def damaged(random: Random, folder: Path) -> None:
    """Any file with other bytes."""
    place = random.choice([p for p in sorted(folder.rglob("*")) if p.is_file()])
    place.write_bytes(mutate.bytes_of(random, place.read_bytes()))


def forged_tensors(random: Random, folder: Path) -> None:
    """A file of tensors with others in it, and a digest that is right."""
    place = random.choice(sorted(folder.rglob("*.safetensors")))
    tensors = load_file(place)
    name = random.choice([*tensors, "new"])
    old = tensors.get(name, torch.zeros(2))
    odd: tuple[Callable[[], Any], ...] = (
        lambda: old * float("nan"), lambda: old.flatten(), lambda: torch.zeros(0), lambda: old.to(torch.float64),
        lambda: old.to(torch.int64), lambda: torch.zeros(3, 4, 5), lambda: old.unsqueeze(0), lambda: torch.tensor(1.0),
    )  # fmt: skip
    if random.random() < 0.2:
        tensors.pop(name, None)
    else:
        tensors[name] = random.choice(odd)().contiguous()
    if random.random() < 0.7:
        write_tensors(place, tensors)
    else:
        save_file(tensors, place)


def replaced(random: Random, folder: Path) -> None:
    """A file or folder that is gone, or something else."""
    place = random.choice(sorted(folder.rglob("*")))
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    what = random.choice(("gone", "pipe", "folder", "link", "loop", "empty", "outside"))
    if what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    elif what == "link":
        place.symlink_to(random.choice(("/dev/zero", "/etc/passwd", "run.json", "nowhere")))
    elif what == "loop":
        place.symlink_to(place)
    elif what == "empty":
        place.touch()
    elif what == "outside":
        place.symlink_to(folder.parent / "outside" / place.name)


def exchanged(random: Random, folder: Path) -> None:
    """A file in the place of another."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    one, other = random.choice(files), random.choice(files)
    if one != other:
        shutil.copy(one, other)


def added(random: Random, folder: Path) -> None:
    """What no run wrote, and what killed processes leave."""
    name = random.choice(
        (".lock", ".run.0123abcd.partial.json", "state-0000001-1.safetensors", "notes.txt", "tree.json")
    )
    (folder / name).write_text(random.choice(("", "{}", "99999999 elsewhere", "\x1b[31m", "[1]")))


KINDS = (edited, edited, edited, edited, damaged, forged_tensors, forged_tensors, replaced, exchanged, added)


def change(seed: int, folder: Path) -> None:
    """Change a run's folder as a number says."""
    random = Random(seed)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        try:
            random.choice(KINDS)(random, folder)
        except (OSError, ValueError, LookupError, SafetensorError):  # what an earlier change left cannot be changed so
            continue
