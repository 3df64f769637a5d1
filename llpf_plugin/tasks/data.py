"""Training and evaluation data: batches are a function of seed and step, so that a run can be repeated and resumed.

`TensorData` holds everything in memory, on the device of the walk, and augments there. `LoaderData` wraps any
``DataLoader``; its batches come in the loader's own order, so runs on it resume without the promise of equal bits.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from llpf_plugin.errors import TaskError
from llpf_plugin.order.trace.inputs import Inputs

Batch = Any
"""What one call of the objective takes: ``(inputs, targets)`` for the built-in classification."""

Augment = Callable[[Tensor, torch.Generator], Tensor]


class Data(Protocol):
    """What a task brings for one split."""

    repeatable: bool

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """The training batch of this step; the same arguments give the same batch if ``repeatable``."""

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """The examples in a fixed order, without augmentation; the first ``limit`` of them if given."""

    def to(self, device: torch.device) -> "Data":
        """These data with their batches on ``device``."""

    def __len__(self) -> int:
        """The number of examples."""


def generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """A generator seeded by a hash of ``key``, so that neighbouring seeds and steps are unrelated."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)


class TensorData:
    """Examples in memory: ``inputs [n, …]`` and ``targets [n, …]`` on one device.

    Training batches walk through a fresh permutation each epoch; the last incomplete batch of an epoch is dropped.

    Args:
        inputs: all inputs, first dimension the examples.
        targets: all targets, same first dimension.
        augment: a function of a batch of inputs and a generator on their device, applied to training batches only.
    """

    repeatable = True

    def __init__(self, inputs: Tensor, targets: Tensor, augment: Augment | None = None) -> None:
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise ValueError(f"{len(inputs)} inputs do not go with {len(targets)} targets")
        self.inputs, self.targets, self.augment = inputs, targets, augment
        self._epoch: tuple[tuple[int, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> "TensorData":
        """The same examples on ``device``."""
        return TensorData(self.inputs.to(device), self.targets.to(device), self.augment)

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Batch number ``step`` of the endless stream that ``seed`` names."""
        size = min(size, len(self))
        epoch, position = divmod(step, len(self) // size)
        index = self._permutation(seed, epoch)[position * size : (position + 1) * size]
        inputs = self.inputs[index]
        if self.augment is not None:
            inputs = self.augment(inputs, generator(inputs.device, seed, step, "augment"))
        return inputs, self.targets[index]

    def batches(self, size: int, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """All examples in order."""
        end = min(len(self), limit or len(self))
        for start in range(0, end, size):
            stop = min(start + size, end)
            yield self.inputs[start:stop], self.targets[start:stop]

    def subset(self, n: int | None) -> "TensorData":
        """The first ``n`` examples."""
        return TensorData(self.inputs[:n], self.targets[:n], self.augment)

    def _permutation(self, seed: int, epoch: int) -> Tensor:
        # Drawn on the CPU, once an epoch, so that every device sees the same order.
        if self._epoch is None or self._epoch[0] != (seed, epoch):
            order = torch.randperm(len(self), generator=generator("cpu", seed, epoch, "order"))
            self._epoch = ((seed, epoch), order.to(self.inputs.device))
        return self._epoch[1]


class LoaderData:
    """Any iterable of batches that can be started again, such as a ``torch.utils.data.DataLoader``.

    Args:
        loader: yields batches; a fresh iteration starts when one ends.
        evaluation: another loader over the same examples, without shuffling or augmentation (default: ``loader``).
        device: where batches are moved.
    """

    repeatable = False

    def __init__(
        self, loader: Iterable[Batch], evaluation: Iterable[Batch] | None = None, device: torch.device | str = "cpu"
    ):
        self.loader, self.evaluation, self.device = loader, evaluation or loader, torch.device(device)
        self._stream: Iterator[Batch] | None = None

    def __len__(self) -> int:
        return len(getattr(self.evaluation, "dataset", self.evaluation))  # type: ignore[arg-type]

    def to(self, device: torch.device) -> "LoaderData":
        """The same loader with its batches moved to ``device``."""
        return LoaderData(self.loader, self.evaluation, device)

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """The loader's next batch; ``size`` is the loader's own, seed and step are ignored."""
        for _ in range(2):
            self._stream = iter(self.loader) if self._stream is None else self._stream
            for batch in self._stream:
                return move_batch(batch, self.device)
            self._stream = None
        raise TaskError("the training loader gives no batch: its data are empty, or fewer than a batch with drop_last")

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """The evaluation loader's batches until ``limit`` examples have been given."""
        seen = 0
        for batch in self.evaluation:
            yield move_batch(batch, self.device)
            seen += batch_size(batch)
            if limit is not None and seen >= limit:
                return


def move_batch(batch: Batch, device: torch.device) -> Batch:
    """Every tensor of a nested batch, moved to ``device``."""
    return Inputs((batch,)).map(lambda tensor: tensor.to(device, non_blocking=True)).args[0]


def batch_size(batch: Batch) -> int:
    """The number of examples of a batch: the length of its first tensor.

    Raises:
        TaskError: it holds no tensor with a dimension.
    """
    size = next((len(tensor) for tensor in Inputs((batch,)).tensors() if tensor.dim() > 0), None)
    if size is None:
        raise TaskError(f"a batch holds no tensor that tells its number of examples: it is a {type(batch).__name__}")
    return size


def crop_and_flip(padding: int = 4, flip: bool = True) -> Augment:
    """Random crops of zero-padded images and horizontal flips, on the images' own device.

    Args:
        padding: pixels added on every side before cropping back to the original size.
        flip: mirror half of the images.

    Returns:
        A function of images ``[n, channels, height, width]`` and a generator.
    """

    def augment(images: Tensor, rng: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        device = images.device
        padded = torch.nn.functional.pad(images, [padding] * 4)
        top, left = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=rng, device=device)
        rows = (top + torch.arange(height, device=device))[:, None, :, None]
        cols = left + torch.arange(width, device=device)
        if flip:
            mirrored = torch.rand(n, 1, generator=rng, device=device) < 0.5
            cols = torch.where(mirrored, cols.flip(1), cols)
        example = torch.arange(n, device=device)[:, None, None, None]
        channel = torch.arange(images.shape[1], device=device)[None, :, None, None]
        return padded[example, channel, rows, cols[:, None, None, :]]

    return augment
