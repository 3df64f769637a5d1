"""What the Flower adapter keeps on disk, changed: a strategy's checkpoints and their rows, a client's own model."""

import json
import logging
import os
import zlib
from pathlib import Path
from random import Random
from typing import Any

import torch
from flwr.app import Context, RecordDict
from helpers.flower_apps import QUIET, app, echo, grid, record
from safetensors import safe_open
from safetensors.torch import save_file

from fuzz import mutate
from llpf_flower import LLPFStrategy, checkpoint
from llpf_flower.state import Store

logging.getLogger("flwr").setLevel(logging.ERROR)  # it prints with colours

START = record(w=[[0.0, 1.0]], b=[0.5])


def strategy(**options: Any) -> LLPFStrategy:
    return LLPFStrategy(**QUIET, server_momentum=0.5, **options)


def client(folder: Path) -> Store:
    """Where the client with number 0 keeps its model."""
    context = Context(1, 7, {"partition-id": 0, "state-dir": str(folder)}, RecordDict(), {})
    return Store(context, server_round=3)


def base(folder: Path) -> None:
    """Checkpoints of three rounds, and the model of a client."""
    strategy(checkpoint_dir=folder, checkpoint_every=1).start(grid(app(echo), 2), START, 3)
    client(folder).save({"w": torch.zeros(1, 2), "b": torch.zeros(1)}, {"loss": 0.5, "phase": "all"})


def use(folder: Path) -> None:
    """Resume the run for a round, and train the client again."""
    made = strategy(checkpoint_dir=folder)
    made.start(grid(app(echo), 2), made.resume(folder), 1)
    made.table()


def serve(folder: Path) -> None:
    """Read a client's model, and write it again."""
    store = client(folder)
    if own := store.load(START):
        store.save(own.weights, own.notes)


def change(seed: int, folder: Path) -> None:
    """Change one file, as a number says."""
    random = Random(seed)
    place = folder / random.choice(("client-0.safetensors", "round-00003.safetensors", "rows.jsonl"))
    what = random.choice(("document", "document", "document", "tensors", "bytes", "pipe", "folder", "gone"))
    if what in ("document", "tensors") and place.suffix == ".safetensors":
        _rewritten(random, place, what == "document")
    elif what == "document":
        _other_rows(random, folder)
    elif what in ("bytes", "tensors"):
        place.write_bytes(mutate.bytes_of(random, place.read_bytes()))
    else:
        place.unlink()
        if what == "pipe":
            os.mkfifo(place)
        elif what == "folder":
            place.mkdir()


def _open(place: Path) -> tuple[str, Any, dict[str, torch.Tensor]]:
    with safe_open(place, "pt") as file:
        (key, text), *_ = (file.metadata() or {}).items()
        return key, json.loads(text), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _rewritten(random: Random, place: Path, values_too: bool) -> None:
    """Another document in the head, or other tensors."""
    key, values, tensors = _open(place)
    if values_too:
        values = mutate.document_of(random, values)
    else:
        name = random.choice(sorted(tensors))
        old = tensors.pop(name)
        odd = (old.flatten()[:0], old.double(), old.to(torch.int64), old * float("nan"), torch.zeros(3, 4), None)
        if (new := random.choice(odd)) is not None:
            tensors[name] = new.clone()
    save_file(tensors, place, metadata={key: mutate.text_of(values)})


def _other_rows(random: Random, folder: Path) -> None:
    """Rows with other values, and the number that makes the last checkpoint believe them."""
    file, last = folder / "rows.jsonl", checkpoint.newest(folder)
    rows = mutate.document_of(random, [json.loads(line) for line in file.read_text().splitlines()])
    rows = rows if isinstance(rows, list) else [rows]
    file.write_text("".join(mutate.text_of(row) + "\n" for row in rows))
    key, values, tensors = _open(last)
    values["earlier"] = {"count": len(rows), "crc": zlib.crc32(file.read_bytes())}
    save_file(tensors, last, metadata={key: json.dumps(values)})
