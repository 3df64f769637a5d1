"""Small networks, checkpoints of them, and a disk that refuses, for the tests of files, checkpoints and preflight."""

import io
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 10))


class Tied(nn.Module):
    """A language model in small: the head is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 3)
        self.head = nn.Linear(3, 7, bias=False)
        self.head.weight = self.embed.weight


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The system itself refuses to write beyond ``size`` bytes, in the middle of a file, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return list(a) == list(b) and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def doubled(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: t * 2 for k, t in weights.items()}


def torch_bytes(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


WEIGHTS = {"w": torch.zeros(1000)}
ZIP, LEGACY = torch_bytes(WEIGHTS), torch_bytes(WEIGHTS, _use_new_zipfile_serialization=False)


def sharded(folder: Path, state: dict[str, Tensor]) -> Path:
    """A folder as Hugging Face writes it, with two shards."""
    folder.mkdir()
    names = sorted(state)
    files = {k: f"model-0000{1 + (i >= len(names) // 2)}-of-00002.safetensors" for i, k in enumerate(names)}
    for file in set(files.values()):
        save_file({k: t for k, t in state.items() if files[k] == file}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text("{}")
    return folder
