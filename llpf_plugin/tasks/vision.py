"""MNIST, CIFAR-10 and CIFAR-100 from the folder that ``LLPF_DATA`` names (or downloaded there by torchvision)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.data import Augment, TensorData
from llpf_plugin.tasks.optional import torchvision

VALIDATION = 0.1
"""Share of the training file that is held out for choosing points of a path, at most `MAX_VALIDATION` images.

With a subset, a quarter as many as the subset has, and at least 500.
"""
MAX_VALIDATION = 5000
SIDE = 32
"""Of CIFAR's images, in pixels."""


def splits(
    name: str, folder: str | None, subset: Any, mean: Sequence[float], std: Sequence[float], augment: Augment | None,
    side: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """Standardised images ``[n, channels, height, width]``: training, validation (from the training file), test.

    Raises:
        TaskError: they are not there; or their height is not a multiple of ``side``, to which they are averaged.
    """
    images, targets = _smaller(*_read(name, folder, train=True, mean=mean, std=std), side)
    training, validation = rows(len(images), subset)
    return {
        "train": TensorData(images[training], targets[training], augment),
        "validation": TensorData(images[validation], targets[validation]),
        "test": TensorData(*_smaller(*_read(name, folder, train=False, mean=mean, std=std), side)),
    }


def rows(n: int, subset: Any) -> tuple[Tensor, Tensor]:
    """Which of ``n`` images of a training file are for training, and which for validation."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    held_out = min(MAX_VALIDATION, int(n * VALIDATION))
    training = order[: n - held_out][: int(subset) if subset else None]
    return training, order[n - held_out :][: max(500, int(subset) // 4) if subset else None]


def _smaller(images: Tensor, targets: Tensor, side: Any) -> tuple[Tensor, Tensor]:
    """Images whose pixels are means of squares of pixels."""
    if side is None:
        return images, targets
    height, wanted = images.shape[-2], int(side)
    if not 0 < wanted <= height or height % wanted:
        raise TaskError(f"side = {wanted}: images of {height}×{height} can be averaged to a divisor of {height} only")
    return F.avg_pool2d(images, height // wanted), targets


def _read(name: str, folder: str | None, train: bool, mean: Any, std: Any) -> tuple[Tensor, Tensor]:
    reader = getattr(torchvision("datasets"), name)
    root = Path(folder or os.environ.get("LLPF_DATA") or Path.home() / ".cache" / "llpf-data")
    try:
        found = reader(root, train=train, download=False)
    except RuntimeError:
        try:
            found = reader(root, train=train, download=True)
        except Exception as error:
            raise TaskError(
                f"{name} is not in {root} and could not be downloaded ({error}); put torchvision's files there "
                "or set LLPF_DATA (or data=FOLDER) to the folder that has them"
            ) from error
    pixels = torch.as_tensor(found.data).float().div(255)
    pixels = pixels.permute(0, 3, 1, 2) if pixels.dim() == 4 else pixels.unsqueeze(1)
    shape = (1, -1, 1, 1)
    images = (pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    return images.contiguous(), torch.as_tensor(found.targets)


def flag(value: Any) -> bool:
    """A truth value, also as text."""
    return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes", "on")
