"""Malformed checkpoints of every form, one a number."""

import argparse
import io
import json
import os
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from helpers import tiny
from helpers.checkpoint_samples import sharded, torch_bytes
from helpers.forged import rezipped
from safetensors.torch import save, save_file

from fuzz import mutate
from fuzz.pickles import forged


def weights() -> dict[str, torch.Tensor]:
    return tiny.pair("mlp")[0]


def tree() -> dict[str, Any]:
    """What training programs save."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    extra = {"args": argparse.Namespace(lr=0.1, mean=np.ones(3)), "epoch": 3, "history": [0.1, 0.2], "dtype": int}
    return {"state_dict": weights(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state(), **extra}


def damaged(random: Random, folder: Path) -> Path:
    """Bytes of a good file, changed."""
    form = random.choice(("torch", "legacy", "safetensors", "zipped again"))
    if form == "safetensors":
        content = save(weights(), {"format": "pt"})
    else:
        content = torch_bytes(tree(), _use_new_zipfile_serialization=form != "legacy")
    place = folder / "a.pt"
    place.write_bytes(content)
    if form == "zipped again":
        rezipped(place, folder / "b.pt").replace(place)
        content = place.read_bytes()
    place.write_bytes(mutate.bytes_of(random, content))
    return place


def repickled(random: Random, folder: Path) -> Path:
    """A good archive whose pickle was changed."""
    place = folder / "a.pt"
    with zipfile.ZipFile(io.BytesIO(torch_bytes(tree()))) as old, zipfile.ZipFile(place, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            changed = name.endswith("data.pkl") or random.random() < 0.05
            new.writestr(name, mutate.bytes_of(random, content) if changed else content)
            if random.random() < 0.02:
                new.writestr(name, content)
    return place


def headed(random: Random, folder: Path) -> Path:
    """A safetensors file whose header was changed."""
    content = save(weights(), {"format": "pt"})
    size = int.from_bytes(content[:8], "little")
    header = mutate.document_of(random, json.loads(content[8 : 8 + size]))
    text = mutate.text_of(header).encode()
    stated = len(text) if random.random() < 0.9 else random.choice((0, 1, 2**40, 2**63, len(text) * 2))
    place = folder / "a.safetensors"
    place.write_bytes(stated.to_bytes(8, "little") + text + content[8 + size :])
    return place


def typed(random: Random, folder: Path) -> Path:
    """A safetensors file with an odd type or shape that fits its bytes."""
    kind, width = random.choice(
        (("F8_E4M3", 1), ("F8_E5M2", 1), ("F8_E8M0", 1), ("F4", 0.5), ("F6_E2M3", 0.75), ("BF16", 2), ("U64", 8),
         ("C64", 8), ("BOOL", 1), ("I4", 0.5), ("X", 1))
    )  # fmt: skip
    shape = random.choice(((4,), (2, 2), (0, 5), (), 66 * (1,), (2**40, 0), (4, 2**62)))
    count = 1
    for side in shape:
        count *= side
    size = min(int(count * width), 64)
    header = json.dumps({"w": {"dtype": kind, "shape": list(shape), "data_offsets": [0, size]}}).encode()
    place = folder / "a.safetensors"
    place.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    return place


def indexed(random: Random, folder: Path) -> Path:
    """A folder of shards whose index, or one of whose shards, was changed."""
    place = sharded(folder / "model", weights())
    index = place / "model.safetensors.index.json"
    if random.random() < 0.7:
        index.write_text(mutate.text_of(mutate.document_of(random, json.loads(index.read_text()))))
    else:
        index.write_bytes(mutate.bytes_of(random, index.read_bytes()))
    if random.random() < 0.3:
        shard = random.choice(sorted(place.glob("*.safetensors")))
        shard.write_bytes(mutate.bytes_of(random, shard.read_bytes()))
    return place


def nested(random: Random, folder: Path) -> Path:
    """A good file with odd containers around, beside and under the weights."""
    tree: Any = {"state_dict": weights()}
    odd: Any = random.choice((*mutate.ODD[:-3], torch.zeros(1).expand(10**5, 10**5), torch.eye(2).to_sparse()))
    for _ in range(random.choice((1, 3, 90, 400))):
        odd = random.choice(([odd], {"a": odd}, (odd, odd), [odd, odd], {"x": odd, "y": odd}))
    tree[random.choice(("x", 3, "", "optimizer", "model", "a" * 3000, "\x1b[2J"))] = odd
    for _ in range(random.choice((0, 0, 1, 3, 6))):
        tree = random.choice(({"model": tree}, {"state": tree, "epoch": 1}, {1: tree}, [tree]))
    try:
        torch.save(tree, folder / "a.pt")
    except (RecursionError, UnicodeEncodeError, ValueError):
        torch.save({"state_dict": weights()}, folder / "a.pt")
    return folder / "a.pt"


def special(random: Random, folder: Path) -> Path:
    """What is no regular file, or no checkpoint at all."""
    place = folder / random.choice(("a.pt", "a.safetensors", "model.safetensors.index.json"))
    what = random.choice(("pipe", "loop", "folder", "device", "noise", "text", "long", "brackets", "views"))
    if what == "pipe":
        os.mkfifo(place)
    elif what == "loop":
        place.symlink_to(place)
    elif what == "folder":
        place.mkdir()
        (place / random.choice(("a.safetensors", "pytorch_model.bin", "x"))).write_bytes(random.randbytes(50))
    elif what == "device":
        return Path(random.choice(("/dev/zero", "/dev/null", "/dev/full")))
    elif what == "noise":
        place.write_bytes(
            random.choice((b"", b"PK", b"\x80\x02", b"{")) + random.randbytes(random.choice((0, 9, 4000)))
        )
    elif what == "text":
        place.write_text(random.choice(("", "{}", "[]", "null", "<html>", '{"weight_map": {"w": "a.safetensors"}}')))
    elif what == "long":
        return folder / ("x" * random.choice((200, 300, 5000)))
    elif what == "brackets":
        place.write_text("[" * 10 ** random.randrange(1, 7))
    else:
        storage = torch.zeros(random.choice((10, 10**5)))
        torch.save({f"w{i}": storage[i % 9 :] for i in range(random.choice((5, 3000)))}, place)
    return place


def prefixed(random: Random, folder: Path) -> Path:
    """Names as wrappers make them, with names that collide without their prefixes."""
    prefix = random.choice(("module.", "_orig_mod.", "model.", "_fsdp_wrapped_module.", "", ".", "module.module."))
    state = {f"{prefix}{name}": tensor for name, tensor in weights().items()}
    for _ in range(random.choice((0, 1, 3))):
        name = random.choice(("module.", "n_averaged", "_orig_mod", "0.weight", "module.0.weight", "\x07", "a..b", "."))
        state[name] = random.choice((torch.zeros(2), torch.tensor(3), torch.zeros(0)))
    if random.random() < 0.5:
        torch.save({"state_dict": state, "n_averaged": torch.tensor(2)}, folder / "a.pt")
        return folder / "a.pt"
    save_file({k: t.clone() for k, t in state.items()}, folder / "a.safetensors")
    return folder / "a.safetensors"


KINDS = (damaged, damaged, repickled, repickled, headed, typed, indexed, nested, special, prefixed)


def checkpoint(seed: int, folder: Path) -> Path:
    """The checkpoint of a number."""
    random = Random(seed)
    if random.random() < 0.3:
        return forged(random, folder / "a.pt", weights())
    return random.choice(KINDS)(random, folder)
