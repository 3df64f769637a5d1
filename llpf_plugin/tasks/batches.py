"""Batches: nested tensors of one first dimension, what gives them, and how they are taken apart, joined and copied."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from llpf_plugin.errors import TaskError
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.tasks.foreign import each

Batch = Any
"""What one call of the objective takes: ``(inputs, targets)`` for the built-in classification."""


class Data(Protocol):
    """What a task brings for one split.

    A ``draw(n, seed)`` of its own (see `llpf_plugin.tasks.sampling.draw`) saves reading all examples for a sample.
    """

    repeatable: bool

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """The training batch of this step; the same arguments give the same batch if ``repeatable``."""

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """The examples in a fixed order, without augmentation; the first ``limit`` of them if given."""

    def to(self, device: torch.device) -> "Data":
        """These data with their batches on ``device``."""

    def __len__(self) -> int:
        """The number of examples."""


class Examples(Protocol):
    """Examples to evaluate on, the same ones in the same order every time."""

    def batches(self, size: int) -> Iterator[Batch]:
        """All of them, in batches of at most ``size`` where the data leave a choice, as equal as can be.

        Statistics are averaged over batches, in which a small last one would count as much as any other.
        """

    def __len__(self) -> int:
        """How many they are."""


class Explained:
    """Examples of a user's; what goes wrong while they are read is an error in one sentence.

    Args:
        what: reading them is.
        examples: that are read.
    """

    def __init__(self, what: str, examples: Examples) -> None:
        self.what, self.examples = what, examples

    def batches(self, size: int) -> Iterator[Batch]:
        """Those of the examples."""
        return each(self.what, lambda: self.examples.batches(size))

    def __len__(self) -> int:
        return len(self.examples)


def move_batch(batch: Batch, device: torch.device | None) -> Batch:
    """A copy of a nested batch, on ``device`` if one is given: a model may write into what it is called with."""
    return Inputs((batch,)).map(lambda tensor: tensor.to(device, non_blocking=True, copy=True)).args[0]


def batch_size(batch: Batch) -> int:
    """The number of examples of a batch: the length of its first tensor.

    Raises:
        TaskError: it holds no tensor with a dimension.
    """
    size = next((len(tensor) for tensor in Inputs((batch,)).tensors() if tensor.dim() > 0), None)
    if size is None:
        raise TaskError(f"a batch holds no tensor that tells its number of examples: it is a {type(batch).__name__}")
    return size


def divisible(batch: Batch) -> bool:
    """Whether every tensor of a batch with a dimension has one row for each example."""
    size = batch_size(batch)
    return all(len(tensor) == size for tensor in Inputs((batch,)).tensors() if tensor.dim() > 0)


def take(batch: Batch, rows: slice | Tensor) -> Batch:
    """Some examples of a batch that is `divisible`."""
    return Inputs((batch,)).map(lambda tensor: tensor[rows] if tensor.dim() > 0 else tensor).args[0]


def class_targets(batch: Batch) -> Tensor | None:
    """The targets ``[n]`` of ``(inputs, integer targets)``; None where a batch is something else."""
    targets = batch[1] if isinstance(batch, tuple | list) and len(batch) == 2 else None
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.shape != (batch_size(batch),):
        return None
    return targets


def join(batches: Sequence[Batch]) -> Batch:
    """One batch of the examples of several with tensors of the same shapes; what has no examples is the first one's."""
    columns = iter(zip(*(Inputs((batch,)).tensors() for batch in batches), strict=True))

    def joined(tensor: Tensor) -> Tensor:
        column = next(columns)
        return torch.cat(column) if tensor.dim() > 0 else tensor

    return Inputs((batches[0],)).map(joined).args[0]


def shape(batch: Batch) -> tuple[Any, ...]:
    """What batches that can be joined have in common."""
    return (type(batch), *(tensor.shape[1:] for tensor in Inputs((batch,)).tensors()))


class Held:
    """Batches in memory; every iteration gives copies of them.

    Args:
        batches: as they are to be given.
        device: where they are given, None for where they are.
    """

    def __init__(self, batches: Iterable[Batch], device: torch.device | None = None) -> None:
        self._batches, self.device = list(batches), device
        self._length = sum(map(batch_size, self._batches))

    def batches(self, size: int) -> Iterator[Batch]:
        """The batches as they were given, but for those of more than ``size`` examples, which are taken apart."""
        for batch in self._batches:
            count = batch_size(batch)
            parts = math.ceil(count / size) if count > size and divisible(batch) else 1
            for i in range(parts):
                own = batch if parts == 1 else take(batch, slice(count * i // parts, count * (i + 1) // parts))
                yield move_batch(own, self.device)

    def __len__(self) -> int:
        return self._length
