"""What the tasks of this package share: small data, a small network, and the table of all tasks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from llpf_plugin import LoaderData, TensorData

_rng = torch.Generator().manual_seed(0)
X = torch.randn(256, 8, generator=_rng)
Y = (X @ torch.randn(8, 3, generator=_rng)).argmax(1)

TASKS: dict[str, Callable[..., Any]] = {}
"""Every factory, by its name."""


def factory(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a factory into the table."""
    assert function.__name__ not in TASKS
    TASKS[function.__name__] = function
    return function


def net(norm: bool = False) -> nn.Sequential:
    """The network of most tasks: two layers, and BatchNorm between them if asked."""
    return nn.Sequential(nn.Linear(8, 16), *([nn.BatchNorm1d(16)] if norm else []), nn.ReLU(), nn.Linear(16, 3))


def splits(x: Tensor = X, y: Tensor = Y) -> dict[str, TensorData]:
    """Training, validation and test data in memory, in copies of their own."""
    parts = {"train": slice(0, 160), "validation": slice(160, 208), "test": slice(208, None)}
    return {split: TensorData(x[part].clone(), y[part].clone()) for split, part in parts.items()}


class Examples(Dataset[tuple[Tensor, Tensor]]):
    """Some of the examples, as a dataset."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return X[self.start + i], Y[self.start + i]


def loader(start: int = 0, stop: int = 160, batch_size: int = 32, **options: Any) -> LoaderData:
    """Some of the examples, through a DataLoader."""
    return LoaderData(DataLoader(Examples(start, stop), batch_size, **options))


class Wrapped(nn.Module):
    """The network inside another module, which subclasses let misbehave."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.net = net(norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
