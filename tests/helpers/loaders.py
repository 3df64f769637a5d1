"""Tasks whose training loader keeps its position: one of ours, and torchdata's ``StatefulDataLoader``."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from helpers import tiny
from llpf_plugin import LoaderData, Task, classification

KINDS = ("own", "torchdata")


class Noisy(Dataset[Any]):
    """The points of `tiny.mlp`, moved a little whenever they are read."""

    def __init__(self, noise: float) -> None:
        self.noise, (self.inputs, self.targets) = noise, tiny.clusters(96, 6, 1)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.inputs[i] + self.noise * torch.randn(6), self.targets[i]


class Kept(DataLoader[Any]):
    """A shuffled loader in one process; its position is the epoch's permutation and how much of it was given."""

    def __init__(self, data: Dataset[Any], size: int, seed: int) -> None:
        super().__init__(data, size, shuffle=True, generator=torch.Generator().manual_seed(seed))
        self.order: list[int] = []
        self.given = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        assert self.batch_size is not None
        if self.given >= len(self.order):
            self.order, self.given = torch.randperm(len(self.dataset), generator=self.generator).tolist(), 0  # type: ignore[arg-type]
        while self.given < len(self.order):
            rows = self.order[self.given : self.given + self.batch_size]
            self.given += self.batch_size
            yield self.collate_fn([self.dataset[i] for i in rows])

    def state_dict(self) -> dict[str, Any]:
        """The position, of all kinds of values."""
        assert self.generator is not None
        return {"order": tuple(self.order), 0: self.given, "generator": self.generator.get_state(), "name": b"kept"}

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        """Go there."""
        assert self.generator is not None and state["name"] == b"kept"
        self.order, self.given = list(state["order"]), state[0]
        self.generator.set_state(state["generator"])


def loader(kind: str, seed: int = 0, noise: float = 0.01, workers: int = 0) -> Any:
    """A shuffled loader of `Noisy` that keeps its position; skips where torchdata is missing."""
    if kind == "own":
        return Kept(Noisy(noise), 32, seed)
    library = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")
    rng = torch.Generator().manual_seed(seed)
    return library.StatefulDataLoader(Noisy(noise), 32, shuffle=True, generator=rng, num_workers=workers)


def task(kind: str = "own", seed: int = 0, noise: float = 0.01) -> Task:
    """`tiny.mlp` on such a loader, which also scores without noise; Ctrl-C comes in training step ``STOP_AT``."""
    left = int(os.environ.get("STOP_AT", "0"))

    def objective(model: Any, batch: Any) -> Any:
        nonlocal left
        left -= model.training
        if left == 0 and model.training:
            signal.raise_signal(signal.SIGINT)
        return classification(model, batch)

    given = LoaderData(loader(kind, seed, noise), DataLoader(Noisy(0), 32) if noise else None)
    plain = tiny.mlp()
    return replace(plain, name="kept", objective=objective, train=given)


TASK = f"{__file__}:task"
