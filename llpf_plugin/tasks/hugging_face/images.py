"""A folder of images, one folder for each class, through a network's own image processor."""

from pathlib import Path

import torch
from torch import Tensor

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.foreign import explained
from llpf_plugin.tasks.hugging_face.folder import Folder
from llpf_plugin.tasks.optional import pillow

_KINDS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"}
_AT_ONCE = 64


def classified(folder: Folder, images: str | None) -> tuple[Tensor, Tensor]:
    """Images as the network takes them, and their classes.

    Folders are classes by their names, as the configuration has them; where it names none, by their order.

    Args:
        folder: whose image processor and labels.
        images: a folder of folders.

    Returns:
        Images ``[n, channels, height, width]`` and classes ``[n]``.

    Raises:
        TaskError: there are no images, or the head does not have a class.
    """
    if images is None:
        raise TaskError(f"{folder.task} needs data: give -t images=FOLDER, with one folder of images for each class")
    place = Path(str(images))
    classes = sorted(p for p in place.iterdir() if p.is_dir()) if place.is_dir() else []
    files = [
        (file, i) for i, one in enumerate(classes) for file in sorted(one.rglob("*")) if file.suffix.lower() in _KINDS
    ]
    if not files:
        raise TaskError(f"images = {images}: it is no folder with one folder of images for each class")
    numbers = _numbers(folder, classes)
    processor, reader, found = folder.image_processor(), pillow(), []
    for start in range(0, len(files), _AT_ONCE):
        with explained(f"reading the images of {place}", TaskError):
            opened = [reader.open(file).convert("RGB") for file, _ in files[start : start + _AT_ONCE]]
            found.append(processor(opened, return_tensors="pt")["pixel_values"])
    return torch.cat(found), torch.tensor([numbers[i] for _, i in files])


def _numbers(folder: Folder, classes: list[Path]) -> list[int]:
    """The number of each class."""
    if not folder.unnamed:
        return [folder.label(one.name, str(one)) for one in classes]
    if len(classes) != folder.config.num_labels:
        raise TaskError(
            f"{classes[0].parent} has {len(classes)} classes, and the head of {folder.place} {folder.config.num_labels}"
        )
    return list(range(len(classes)))
