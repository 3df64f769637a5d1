"""Data of a task: batches are a function of seed and step, so that a run can be repeated and resumed.

`TensorData` holds everything in memory, on the device of the walk, and augments there.
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from llpf_plugin.tasks.sampling import Rows, choose, classes, generator

Augment = Callable[[Tensor, torch.Generator], Tensor]


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
        """All examples in order, copied, so that a model may write into them."""
        end = min(len(self), limit or len(self))
        for start in range(0, end, size):
            stop = min(start + size, end)
            yield self.inputs[start:stop].clone(), self.targets[start:stop].clone()

    def draw(self, n: int | None, seed: int) -> Rows:
        """``n`` examples, without augmentation (see `llpf_plugin.tasks.sampling.choose`)."""
        index = choose(len(self), n, seed, classes(self.targets, len(self)))
        return Rows(self.inputs, self.targets, index)

    def subset(self, n: int | None) -> "TensorData":
        """The first ``n`` examples."""
        return TensorData(self.inputs[:n], self.targets[:n], self.augment)

    def _permutation(self, seed: int, epoch: int) -> Tensor:
        # Drawn on the CPU, once an epoch, so that every device sees the same order.
        if self._epoch is None or self._epoch[0] != (seed, epoch):
            order = torch.randperm(len(self), generator=generator("cpu", seed, epoch, "order"))
            self._epoch = ((seed, epoch), order.to(self.inputs.device))
        return self._epoch[1]


def crop_and_flip(padding: int = 4, flip: bool = True, fill: float = 0.0) -> Augment:
    """Random crops of padded images and horizontal flips, on the images' own device.

    Args:
        padding: pixels added on every side before cropping back to the original size.
        flip: mirror half of the images.
        fill: value of the padding; 0 is the mean of standardised images.

    Returns:
        A function of images ``[n, channels, height, width]`` and a generator.
    """

    def augment(images: Tensor, rng: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        device = images.device
        padded = F.pad(images, [padding] * 4, value=fill)
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


def rotate(degrees: float) -> Augment:
    """Random rotations of square images about their centre, by at most ``degrees``, to the nearest pixel.

    The same as torchvision's ``RandomRotation`` where the images have a uniform border, which fills the corners.

    Returns:
        A function of images ``[n, channels, side, side]`` and a generator.
    """

    def augment(images: Tensor, rng: torch.Generator) -> Tensor:
        angle = math.radians(degrees) * (2 * torch.rand(len(images), generator=rng, device=images.device) - 1)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        turn = torch.stack([cos, -sin, zero, sin, cos, zero], -1).view(-1, 2, 3)
        places = F.affine_grid(turn, list(images.shape), align_corners=False)
        return F.grid_sample(images, places, mode="nearest", padding_mode="border", align_corners=False)

    return augment
