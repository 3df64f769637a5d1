"""Examples of several tensors each, in memory, in batches that fit it."""

from collections.abc import Iterator

import torch
from torch import Tensor

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.batches import Batch, Examples
from llpf_plugin.tasks.data import TensorData
from llpf_plugin.tasks.sampling import generator

VALIDATION, TEST = 0.1, 0.1
"""Shares of the examples that are held out where no files for them are named."""


class Modest:
    """Data, or examples, that are given in smaller batches than asked for: what a network answers may be large.

    Args:
        data: of a split, or examples drawn from it.
        most: examples of a batch.
    """

    def __init__(self, data: TensorData | Examples, most: int) -> None:
        self.data, self.most = data, most

    @property
    def repeatable(self) -> bool:
        """Whether a training batch is a function of seed and step."""
        return True

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """A training batch, of the size that was asked for."""
        assert isinstance(self.data, TensorData)
        return self.data.batch(size, seed, step)

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """All examples in order."""
        if isinstance(self.data, TensorData):
            return self.data.batches(min(size, self.most), limit)
        return self.data.batches(min(size, self.most))

    def draw(self, n: int | None, seed: int) -> "Modest":
        """A sample (see `llpf_plugin.tasks.sampling.draw`)."""
        assert isinstance(self.data, TensorData)
        return Modest(self.data.draw(n, seed), self.most)

    def to(self, device: torch.device) -> "Modest":
        """The same data on ``device``."""
        assert isinstance(self.data, TensorData)
        return Modest(self.data.to(device), self.most)

    def __len__(self) -> int:
        return len(self.data)


def splits(inputs: Tensor, targets: Tensor, most: int, what: str, shuffled: bool) -> dict[str, Modest]:
    """Training, validation and test examples: of one text consecutive parts, of single examples a fixed shuffle.

    Args:
        inputs: ``[n, …]``.
        targets: ``[n, …]``.
        most: examples of a batch that is evaluated.
        what: the examples are, in an error.
        shuffled: whether examples are independent of one another.

    Raises:
        TaskError: there are too few.
    """
    n = len(inputs)
    held = (max(1, int(n * VALIDATION)), max(1, int(n * TEST)))
    if n - sum(held) < 2:
        raise TaskError(f"{what}: too few for training, validation and test data: give more")
    order = torch.randperm(n, generator=generator("cpu", 0, "splits")) if shuffled else torch.arange(n)
    parts = order.split([n - sum(held), *held])
    named = zip(("train", "validation", "test"), parts, strict=True)
    return {name: Modest(TensorData(inputs[rows], targets[rows]), most) for name, rows in named}
