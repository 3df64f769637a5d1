"""Image files as data of a task: decoded once where they fit into memory, else whenever they are asked for."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from llpf_plugin.tasks.data import Augment
from llpf_plugin.tasks.sampling import choose, generator

HELD = 2**30
"""Bytes of decoded pixels that are kept at most, of all images of a split together."""

READERS = 8
"""Threads that decode; what they decode does not depend on their number."""


class Pictures:
    """Classified image files; batches are a function of seed and step, so that runs resume bit by bit.

    Args:
        files: of the images.
        targets: their classes ``[n]``.
        decode: a file as pixels, ``uint8 [channels, height, width]``, of one size for all.
        mean: of each channel in [0, 1]; it is taken from the pixels.
        std: of each channel; pixels are divided by it.
        augment: of training batches, as of `TensorData`.
        device: where batches are.
    """

    repeatable = True

    def __init__(
        self, files: Sequence[str], targets: Tensor, decode: Callable[[str], Tensor], mean: Tensor, std: Tensor,
        augment: Augment | None = None, device: torch.device | str = "cpu",
    ) -> None:  # fmt: skip
        self.files, self.targets, self.decode, self.augment = files, targets, decode, augment
        self.mean, self.std, self.device = mean, std, torch.device(device)
        self._pixels: Tensor | None = None
        self._epoch: tuple[tuple[int, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def to(self, device: torch.device) -> "Pictures":
        """The same images, in batches on ``device``; what has been decoded stays so."""
        moved = Pictures(self.files, self.targets, self.decode, self.mean, self.std, self.augment, device)
        moved._pixels = self._pixels
        return moved

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Batch number ``step`` of the endless stream that ``seed`` names, as of `TensorData`."""
        size = min(size, len(self))
        epoch, position = divmod(step, len(self) // size)
        if self._epoch is None or self._epoch[0] != (seed, epoch):
            self._epoch = (seed, epoch), torch.randperm(len(self), generator=generator("cpu", seed, epoch, "order"))
        images, targets = self.rows(self._epoch[1][position * size : (position + 1) * size])
        if self.augment is not None:
            images = self.augment(images, generator(images.device, seed, step, "augment"))
        return images, targets

    def batches(self, size: int, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, without augmentation."""
        yield from (self.rows(rows) for rows in torch.arange(min(len(self), limit or len(self))).split(size))

    def draw(self, n: int | None, seed: int) -> "Drawn":
        """``n`` images, of every class its share (see `llpf_plugin.tasks.sampling.choose`)."""
        return Drawn(self, choose(len(self), n, seed, self.targets))

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The standardised images ``float32 [n, channels, height, width]`` of an index ``[n]``, and their classes."""
        pixels = self._read(index).to(self.device).float().div_(255)
        shape = (1, -1, 1, 1)
        images = (pixels - self.mean.to(self.device).view(shape)) / self.std.to(self.device).view(shape)
        return images, self.targets[index].to(self.device)

    def _read(self, index: Tensor) -> Tensor:
        if self._pixels is None and self.decode(self.files[0]).numel() * len(self) <= HELD:
            self._pixels = self._decoded(self.files)
        return self._decoded([self.files[i] for i in index.tolist()]) if self._pixels is None else self._pixels[index]

    def _decoded(self, files: Sequence[str]) -> Tensor:
        with ThreadPoolExecutor(READERS) as pool:
            return torch.stack(list(pool.map(self.decode, files)))


class Drawn:
    """Some of the images, in the order of an index ``[n]``."""

    def __init__(self, pictures: Pictures, index: Tensor) -> None:
        self.pictures, self.index = pictures, index

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """In batches of equal sizes, to within one image."""
        yield from map(self.pictures.rows, self.index.tensor_split(math.ceil(len(self) / size)))

    def __len__(self) -> int:
        return len(self.index)
