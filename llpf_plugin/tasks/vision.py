"""Tasks on MNIST and CIFAR-10, read from the folder that ``LLPF_DATA`` names (or downloaded there by torchvision)."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.data import TensorData, crop_and_flip
from llpf_plugin.tasks.models import LeNet5, SmallResNet
from llpf_plugin.tasks.task import Defaults, Task

VALIDATION = 0.1
"""Share of the training file that is held out for choosing points of a path, at most `MAX_VALIDATION` images.

With a subset, a quarter as many as the subset has, and at least 500.
"""
MAX_VALIDATION = 5000


def mnist_lenet5(subset: int | None = None, data: str | None = None) -> Task:
    """LeNet-5 on MNIST; ``subset`` takes the first so many images of a fixed shuffle."""
    recipe = {"epochs": 20, "lr": 0.01}
    defaults = Defaults(batch_size=64, lr=0.02)
    splits = _splits("MNIST", data, subset, mean=(0.1307,), std=(0.3081,), augment=False)
    return Task(model=LeNet5(), name="mnist/lenet5", defaults=defaults, recipe=recipe, **splits)


def cifar10_resnet8(width: int = 16, subset: int | None = None, augment: bool = False, data: str | None = None) -> Task:
    """A ResNet of three blocks; ``augment`` crops and flips while training and settling."""
    model = SmallResNet(int(width), (1, 1, 1))
    recipe = {"epochs": 40, "lr": 0.1, "weight_decay": 5e-4}
    return _cifar("cifar10/resnet8", model, Defaults(lr=0.02), recipe, subset, augment, data)


def cifar10_resnet18(width: int = 64, subset: int | None = None, augment: bool = True, data: str | None = None) -> Task:
    """ResNet18 with a 3×3 stem, as the paper trains it on CIFAR-10 (table 6)."""
    model = SmallResNet(int(width), (2, 2, 2, 2))
    recipe = {"epochs": 30, "lr": 0.1, "weight_decay": 5e-4}
    return _cifar("cifar10/resnet18", model, Defaults(batch_size=256, lr=0.01), recipe, subset, augment, data)


def _cifar(
    name: str, model: nn.Module, defaults: Defaults, recipe: dict[str, float], subset: Any, augment: Any, data: Any
) -> Task:
    splits = _splits("CIFAR10", data, subset, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), _flag(augment))
    return Task(model=model, name=name, defaults=defaults, recipe=recipe, **splits)


def _splits(name: str, folder: str | None, subset: Any, mean: Any, std: Any, augment: bool) -> dict[str, Any]:
    """Standardised images ``[n, channels, height, width]``: training, validation (from the training file), test."""
    images, targets = _read(name, folder, train=True, mean=mean, std=std)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held_out = min(MAX_VALIDATION, int(len(images) * VALIDATION))
    training = order[: len(images) - held_out][: int(subset) if subset else None]
    validation = order[len(images) - held_out :][: max(500, int(subset) // 4) if subset else None]
    return {
        "train": TensorData(images[training], targets[training], crop_and_flip() if augment else None),
        "validation": TensorData(images[validation], targets[validation]),
        "test": TensorData(*_read(name, folder, train=False, mean=mean, std=std)),
    }


def _read(name: str, folder: str | None, train: bool, mean: Any, std: Any) -> tuple[Tensor, Tensor]:
    try:
        from torchvision import datasets
    except ImportError as error:
        raise TaskError(f"the {name} tasks need torchvision: pip install 'llpf-plugin[vision]'") from error
    root = Path(folder or os.environ.get("LLPF_DATA") or Path.home() / ".cache" / "llpf-data")
    reader = getattr(datasets, name)
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


def _flag(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes", "on")
