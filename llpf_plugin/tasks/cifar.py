"""Tasks on CIFAR-10 and CIFAR-100."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from llpf_plugin.tasks.data import crop_and_flip
from llpf_plugin.tasks.models import SmallResNet
from llpf_plugin.tasks.recipe import Recipe
from llpf_plugin.tasks.table6 import RESNET18
from llpf_plugin.tasks.task import Defaults, Task
from llpf_plugin.tasks.vision import flag, splits


def cifar10_resnet8(width: int = 16, subset: int | None = None, augment: bool = False, data: str | None = None) -> Task:
    """A ResNet of three blocks; ``augment`` crops and flips while training and settling."""
    build, recipe = partial(SmallResNet, int(width), (1, 1, 1)), Recipe(epochs=40, lr=0.1, weight_decay=5e-4)
    return _cifar("cifar10/resnet8", build, Defaults(lr=0.02), recipe, subset, augment, data)


def cifar10_resnet18(width: int = 64, subset: int | None = None, augment: bool = True, data: str | None = None) -> Task:
    """ResNet18 with a 3×3 stem, as the paper trains it on CIFAR-10 (table 6)."""
    build = partial(SmallResNet, int(width), (2, 2, 2, 2))
    return _cifar("cifar10/resnet18", build, Defaults(batch_size=256, lr=0.01), RESNET18, subset, augment, data)


def _cifar(
    name: str, build: Callable[[], nn.Module], defaults: Defaults, recipe: Recipe, subset: Any, augment: Any, data: Any
) -> Task:
    augmentation = crop_and_flip() if flag(augment) else None
    parts = splits("CIFAR10", data, subset, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), augmentation)
    return Task(model=build(), name=name, defaults=defaults, recipe=recipe, build=build, **parts)
