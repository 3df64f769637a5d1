"""A folder of images, which lie sorted by class, through torchvision's ImageFolder and a plain DataLoader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from llpf_plugin import LoaderData, Quality, Task, find_path
from llpf_plugin.training import train

torchvision = pytest.importorskip("torchvision", reason="torchvision reads folders of images")
PIL = pytest.importorskip("PIL.Image", reason="Pillow writes the images")

CLASSES, EACH, SAMPLE = 3, 300, 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy images 8×8, whose classes differ in the brightness of a stripe; one in ten is in the wrong folder."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(CLASSES * EACH):
        label = i // EACH if rng.random() > 0.1 else int(rng.integers(CLASSES))
        pixels = rng.integers(0, 120, (8, 8, 3))
        pixels[:, 2 * label : 2 * label + 2] += 60 * (1 + label)
        place = root / f"class{i // EACH}" / f"{i}.png"
        place.parent.mkdir(exist_ok=True)
        PIL.fromarray(pixels.clip(0, 255).astype("uint8")).save(place)
    return root


def net() -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, CLASSES)]
    return nn.Sequential(*layers)


def task_of(images: Dataset[tuple[Tensor, int]]) -> Task:
    return Task(net(), LoaderData(DataLoader(images, 32)), LoaderData(DataLoader(images, 32)), build=net)


@pytest.fixture(scope="module")
def measured(folder: Path) -> Callable[[bool, int | None], Quality]:
    images = torchvision.datasets.ImageFolder(folder, torchvision.transforms.ToTensor())
    mixed = Subset(images, torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).tolist())
    ends = [train(task_of(mixed), seed, epochs=2, lr=0.05) for seed in (0, 1)]

    def measure(in_order: bool, sample: int | None) -> Quality:
        return find_path(
            *ends, task_of(images if in_order else mixed), "linear", sample=sample, tolerance=9.0, points=3
        ).quality

    return measure


@pytest.mark.parametrize(("sample", "off"), [(None, 0.02), (SAMPLE, 0.4)])
def test_sorted_images_give_the_numbers_of_shuffled_ones(
    measured: Callable[[bool, int | None], Quality], sample: int | None, off: float
) -> None:
    found, right = measured(True, sample), measured(False, sample)
    for end in ("A", "B"):
        for split in ("train", "validation"):
            assert found.ends[end][split] == pytest.approx(right.ends[end][split], rel=off)
    assert found.maximum == pytest.approx(right.maximum, rel=off)
    models = [quality.pick(0.3).scores["validation"] for quality in (found, right)]
    assert models[0].loss == pytest.approx(models[1].loss, rel=off)


def test_every_image_is_decoded_once(folder: Path) -> None:
    """Whatever the number of points; training itself reads more."""
    images = torchvision.datasets.ImageFolder(folder, torchvision.transforms.ToTensor())
    read, load = [], images.loader
    images.loader = lambda place: (read.append(place), load(place))[1]
    a, b = net().state_dict(), net().state_dict()
    find_path(a, b, Task(net(), LoaderData(DataLoader(images, 32))), "linear", tolerance=9.0, points=9)
    settled = 2 * 4 * 32  # mini-batches that say what settling sees at the ends
    # All of them, the sample of statistics, that of looks, and the one that says how the objective calls the model.
    assert len(read) <= 2 * CLASSES * EACH + 256 + settled + 64
