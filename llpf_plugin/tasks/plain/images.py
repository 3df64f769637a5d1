"""Any classifier of torchvision or timm on a folder of images, as the libraries themselves prepare them."""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.documents import listed, quoted
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.data import crop_and_flip
from llpf_plugin.tasks.foreign import explained
from llpf_plugin.tasks.imagenet10 import MEAN, STD
from llpf_plugin.tasks.optional import torchvision
from llpf_plugin.tasks.plain.pictures import Pictures
from llpf_plugin.tasks.sampling import generator
from llpf_plugin.tasks.specification import nearest
from llpf_plugin.tasks.task import Defaults, Task
from llpf_plugin.tasks.vision import flag

HELD_OUT = 0.1
"""Share of the images that is held out for validation, and for the test, where no folders for them are named."""
PARTS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test",)}
"""Names of folders for the splits."""


@dataclass(frozen=True)
class Prepared:
    """How images come to a network.

    Attributes:
        side: height and width that it sees, in pixels.
        resized: the shorter side before the centre is cut out.
        mean: taken from each channel.
        std: that each channel is divided by.
        interpolation: of resizing.
    """

    side: int = 224
    resized: int = 256
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    interpolation: str = "bilinear"


def classifier(
    network: str, data: str | None = None, side: int | None = None, augment: bool = False, library: str | None = None,
    **settings: Any,
) -> Task:  # fmt: skip
    """Tell the class of an image, with a network of torchvision or timm.

    Args:
        network: its name there, without pretrained weights.
        data: a folder with one folder of images for each class, or with such folders called ``train``, ``val`` and
            ``test``; what there is no folder for is held out of the training images, a tenth each.
        side: height and width of the images in pixels [what the library has for this network].
        augment: crop, from images padded by an eighth of their side, and flip while training and settling.
        library: ``torchvision`` or ``timm``, where both have such a network [torchvision].
        **settings: of the network's constructor, such as ``drop_rate`` or ``img_size``.

    Raises:
        TaskError: there is no such network or folder, or a library is missing.
    """
    folders = _folders(network, data)
    classes = _classes(folders)
    library = library or _library_of(network)
    build = partial(_built, library, network, {"num_classes": len(classes), **settings})
    model = build()
    prepared = _prepared(library, network, model)
    if side is not None:
        prepared = replace(prepared, side=int(side), resized=math.floor(int(side) * prepared.resized / prepared.side))
    splits = _splits(folders, classes, prepared, flag(augment))
    return Task(
        model, name=f"images/{network}", build=build, defaults=Defaults(batch_size=64), classes=classes,
        **splits,  # type: ignore[arg-type]
    )  # fmt: skip


def _folders(network: str, data: str | None) -> dict[str, Path]:
    """The folder of each split that has one; ``train`` always."""
    if data is None:
        raise TaskError(f"images/{network} needs data: give -t data=FOLDER, with one folder of images for each class")
    place = Path(str(data))
    if not place.is_dir():
        raise TaskError(f"data = {data}: there is no such folder")
    found = {part: place / name for part, names in PARTS.items() for name in names if (place / name).is_dir()}
    return found if "train" in found else {"train": place}


def _classes(folders: dict[str, Path]) -> list[str]:
    """The names of the classes: those of the training folders, in order.

    Raises:
        TaskError: there are fewer than two, or another split has one that they have not.
    """
    names = {part: sorted(p.name for p in place.iterdir() if p.is_dir()) for part, place in folders.items()}
    if len(names["train"]) < 2:
        raise TaskError(f"{folders['train']} has {len(names['train'])} folders: there must be one for each class")
    for part, own in names.items():
        if odd := [name for name in own if name not in names["train"]]:
            raise TaskError(f"{folders[part]} has classes that {folders['train']} has not: {listed(odd)}")
    return names["train"]


def _library_of(network: str) -> str:
    if network in torchvision("models").list_models(torchvision("models")):
        return "torchvision"
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        hint = nearest(network, torchvision("models").list_models(torchvision("models")))
        raise TaskError(f"torchvision has no classifier {quoted(network)}, and timm is not installed{hint}") from error
    if not timm.is_model(network):
        hint = nearest(network, list({*torchvision("models").list_models(torchvision("models")), *timm.list_models()}))
        raise TaskError(f"neither torchvision nor timm has a classifier {quoted(network)}{hint}")
    return "timm"


def _built(library: str, network: str, settings: dict[str, Any]) -> nn.Module:
    with explained(f"building {network} of {library}", TaskError):
        if library == "torchvision":
            settings = {**settings, **({"init_weights": True} if network in ("googlenet", "inception_v3") else {})}
            found: nn.Module = torchvision("models").get_model(network, weights=None, **settings)
        elif library == "timm":
            found = importlib.import_module("timm").create_model(network, pretrained=False, **settings)
        else:
            raise TaskError(f"library = {quoted(library)}: it is torchvision or timm")
        return found


def _prepared(library: str, network: str, model: nn.Module) -> Prepared:
    """What the library does with images for this network."""
    if library == "timm":
        found = importlib.import_module("timm").data.resolve_model_data_config(model)
        side = found["input_size"][-1]
        resized = math.floor(side / found["crop_pct"])
        return Prepared(side, resized, tuple(found["mean"]), tuple(found["std"]), found["interpolation"])
    weights = torchvision("models").get_model_weights(network)
    preset: Any = weights.DEFAULT.transforms() if len(weights) else None
    if not hasattr(preset, "crop_size"):
        return Prepared()
    sizes = preset.crop_size[0], preset.resize_size[0]
    return Prepared(*sizes, tuple(preset.mean), tuple(preset.std), preset.interpolation.value)


def _splits(folders: dict[str, Path], classes: list[str], prepared: Prepared, augment: bool) -> dict[str, Pictures]:
    """Training, validation and test images; the examples that are held out are drawn by a fixed seed."""
    found = {part: _listed(place, classes) for part, place in folders.items()}
    files, targets = found["train"]
    missing = [part for part in ("validation", "test") if part not in found]
    count = max(1, int(len(files) * HELD_OUT)) if missing else 0
    order = torch.randperm(len(files), generator=generator("cpu", 0, "splits"))
    if len(files) - count * len(missing) < 2:
        raise TaskError(f"{folders['train']}: {len(files)} images are too few for training, validation and test data")
    parts = dict(zip(missing, order.split(count), strict=False)) if missing else {}
    rest = order[count * len(missing) :].sort().values
    found |= {
        part: ([files[i] for i in rows.tolist()], targets[rows]) for part, rows in (*parts.items(), ("train", rest))
    }
    decode = _decoder(prepared)
    scale = torch.tensor(prepared.mean), torch.tensor(prepared.std)
    changed = crop_and_flip(max(1, prepared.side // 8)) if augment else None
    return {part: Pictures(*own, decode, *scale, changed if part == "train" else None) for part, own in found.items()}


def _listed(place: Path, classes: list[str]) -> tuple[list[str], Tensor]:
    """The files below a folder of classes and the numbers of these."""
    number = {name: i for i, name in enumerate(classes)}
    with explained(f"reading the images of {place}", TaskError):
        found = torchvision("datasets").ImageFolder(place, allow_empty=True)
    samples = [(file, number[found.classes[own]]) for file, own in found.samples]
    if not samples:
        raise TaskError(f"{place} has no images that torchvision reads: {', '.join(found.extensions)}")
    return [file for file, _ in samples], torch.tensor([target for _, target in samples])


def _decoder(prepared: Prepared) -> Callable[[str], Tensor]:
    """A function of a file to its pixels, ``uint8 [3, side, side]``."""
    transforms, loader = torchvision("transforms"), torchvision("datasets.folder").default_loader
    resize = transforms.Resize(prepared.resized, transforms.InterpolationMode(prepared.interpolation))
    change = transforms.Compose([resize, transforms.CenterCrop(prepared.side), transforms.PILToTensor()])

    def decode(file: str) -> Tensor:
        with explained(f"reading the image {file}", TaskError):
            pixels: Tensor = change(loader(file))
            return pixels

    return decode
