"""ResNet18 on a folder of images that the test makes: ten classes, in the form of ImageNet."""

from pathlib import Path

import numpy as np
import pytest
import torch

from llpf_plugin import load_task
from llpf_plugin.errors import TaskError
from llpf_plugin.training import train

pytest.importorskip("torchvision", reason="torchvision reads folders of images")
PIL = pytest.importorskip("PIL.Image", reason="Pillow writes the images")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes of twelve images for training and two for testing, each of one brightness, of several shapes."""
    root, rng = tmp_path_factory.mktemp("imagenet10"), np.random.default_rng(0)
    for part, each in (("train", 12), ("val", 2)):
        for label in range(10):
            place = root / part / f"n{label:08d}"
            place.mkdir(parents=True)
            for i in range(each):
                pixels = rng.integers(0, 20, (40 + i, 60, 3)) + 23 * label
                PIL.fromarray(pixels.astype("uint8")).save(place / f"{i}.png")
    return root


def test_the_folder_becomes_a_task(folder: Path) -> None:
    task = load_task("imagenet10/resnet18", {"data": str(folder), "width": 4, "side": 32})
    assert [len(s) for s in (task.train, task.validation, task.test)] == [108, 12, 20]  # type: ignore[arg-type]
    images, labels = next(iter(task.train.batches(108)))
    assert images.shape == (108, 3, 32, 32) and set(labels.tolist()) == set(range(10))
    darkest, brightest = images[labels == 0].mean(), images[labels == 9].mean()
    assert float(darkest) == pytest.approx((9.5 / 255 - 0.45) / 0.226, abs=0.1) and float(brightest - darkest) > 3
    assert task.model(images[:2]).shape == (2, 10)


def test_ends_are_trained_on_it_and_repeat(folder: Path) -> None:
    arguments = {"data": str(folder), "width": 4, "side": 32, "subset": 64}
    task = load_task("imagenet10/resnet18", arguments)
    assert len(task.train) == 64
    a, again, b = (train(task, seed, epochs=2, lr=0.01) for seed in (1, 1, 2))
    assert all(torch.equal(a[k], again[k]) for k in a) and not torch.equal(a["conv1.weight"], b["conv1.weight"])


def test_a_missing_folder_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"train is not a folder with one folder of images for each class.*data=FOLDER"):
        load_task("imagenet10/resnet18", {"data": str(tmp_path)})
