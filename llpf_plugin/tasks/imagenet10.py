"""The task on ten classes of ImageNet, from a folder of images."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.data import TensorData, crop_and_flip
from llpf_plugin.tasks.models import SmallResNet
from llpf_plugin.tasks.optional import torchvision
from llpf_plugin.tasks.table6 import RESNET18_IMAGENET10
from llpf_plugin.tasks.task import Defaults, Task
from llpf_plugin.tasks.vision import flag, rows

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resnet18(
    width: int = 64, subset: int | None = None, augment: bool = True, data: str | None = None, side: int = 224
) -> Task:
    """Torchvision's ResNet18 on a folder of images: 11,181,642 parameters for ten classes at width 64.

    Images are cut to a square, scaled, and held in memory as float32: 0.6 GB for a thousand of 224×224.

    Args:
        width: channels of the first convolution; all others in proportion.
        subset: the first so many images of a fixed shuffle.
        augment: crop, from images padded by an eighth of their side, and flip while training and settling.
        data: folder that holds ``train`` and ``val``, each with one folder of images for each class; the default is
            ``imagenet10`` in the folder that ``LLPF_DATA`` names. Validation images are held out of ``train``.
        side: height and width of the images.

    Raises:
        TaskError: there are no such folders.
    """
    folder = Path(data or Path(os.environ.get("LLPF_DATA") or ".") / "imagenet10")
    found = {part: _images(folder, part, int(side)) for part in ("train", "val")}
    training, validation = rows(len(found["train"]), subset)
    augmentation = crop_and_flip(int(side) // 8) if flag(augment) else None
    parts: dict[str, Any] = {
        "classes": tuple(found["train"].classes),
        "train": _decoded(found["train"], training.tolist(), augmentation),
        "validation": _decoded(found["train"], validation.tolist()),
        "test": _decoded(found["val"], range(len(found["val"]))),
    }
    build = partial(SmallResNet, int(width), (2, 2, 2, 2), len(found["train"].classes), stem=7)
    task = Task(build(), name="imagenet10/resnet18", recipe=RESNET18_IMAGENET10, build=build, **parts)
    return replace(task, defaults=Defaults(batch_size=256, lr=0.01))


def _images(folder: Path, part: str, side: int) -> Any:
    transforms = torchvision("transforms")
    steps = [
        transforms.Resize(side), transforms.CenterCrop(side), transforms.ToTensor(), transforms.Normalize(MEAN, STD)
    ]  # fmt: skip
    try:
        return torchvision("datasets").ImageFolder(folder / part, transforms.Compose(steps))
    except FileNotFoundError as error:
        raise TaskError(
            f"{folder / part} is not a folder with one folder of images for each class ({error}): put imagenet10 in "
            "the folder that LLPF_DATA names, or give data=FOLDER, where FOLDER holds train and val"
        ) from error


def _decoded(images: Any, chosen: Any, augment: Any = None) -> TensorData:
    pairs = [images[i] for i in chosen]
    return TensorData(torch.stack([image for image, _ in pairs]), torch.tensor([t for _, t in pairs]), augment)
