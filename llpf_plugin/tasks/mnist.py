"""The task on MNIST."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from llpf_plugin.tasks.data import Augment, crop_and_flip, rotate
from llpf_plugin.tasks.models import LeNet5
from llpf_plugin.tasks.table6 import LENET5
from llpf_plugin.tasks.task import Defaults, Task
from llpf_plugin.tasks.vision import flag, splits

MEAN, STD = 0.1307, 0.3081
DEGREES, PADDING = 5, 2


def lenet5(width: int = 6, subset: int | None = None, augment: bool | None = None, data: str | None = None) -> Task:
    """LeNet-5 on MNIST as the paper trains it (tables 6 and 7), or smaller: 61,706 parameters at width 6.

    Args:
        width: channels of the first convolution; all others in proportion.
        subset: the first so many images of a fixed shuffle. They are trained in one cycle of the learning rate, which
            the paper keeps constant over far more steps.
        augment: rotate by up to 5° and shift by up to 2 pixels while training and settling; None for what the paper
            does, if all images are used.
        data: folder of torchvision's files.
    """
    augmented = not subset if augment is None else flag(augment)
    build, recipe = partial(LeNet5, int(width)), replace(LENET5, schedule="one-cycle") if subset else LENET5
    parts = splits("MNIST", data, subset, (MEAN,), (STD,), shake() if augmented else None)
    parts["classes"] = tuple("0123456789")  # torchvision says "3 - three"
    defaults = Defaults(batch_size=64, lr=0.02)
    return Task(build(), name="mnist/lenet5", defaults=defaults, recipe=recipe, build=build, **parts)


def shake() -> Augment:
    """What the paper does with training images: rotate, then crop from a black border."""
    turn, crop = rotate(DEGREES), crop_and_flip(PADDING, flip=False, fill=-MEAN / STD)

    def augment(images: Tensor, rng: torch.Generator) -> Tensor:
        return crop(turn(images, rng), rng)

    return augment
