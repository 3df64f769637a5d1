"""MNIST and CIFAR-10 as tasks: how they are split; on the data themselves where ``LLPF_DATA`` names their folder."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llpf_plugin import load_task
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks import mnist, vision
from llpf_plugin.tasks.cifar import cifar10
from llpf_plugin.tasks.digits import splits as digits

real = pytest.mark.skipif("LLPF_DATA" not in os.environ, reason="LLPF_DATA does not name a folder with the data sets")


@pytest.fixture
def numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the data sets, 60,000 and 100 examples whose image is their own number."""

    def read(name: str, folder: str | None, train: bool, mean: Any, std: Any) -> tuple[Tensor, Tensor]:
        n = 60_000 if train else 100
        images = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1)
        return images, images.flatten().long()

    monkeypatch.setattr(vision, "_read", read)


SIZES = [(None, (55_000, 5000, 100)), (4000, (4000, 1000, 100)), (100, (100, 500, 100))]


@pytest.mark.parametrize(("subset", "sizes"), SIZES)
@pytest.mark.usefixtures("numbered")
def test_the_training_file_is_split_into_training_and_validation(subset: int | None, sizes: tuple[int, ...]) -> None:
    task = mnist.lenet5(subset=subset)
    found = [task.train, task.validation, task.test]
    assert tuple(len(split) for split in found if split is not None) == sizes
    training, validation = (set(split.targets.tolist()) for split in found[:2])  # type: ignore[union-attr]
    assert not training & validation and len(training) == sizes[0]
    assert all(torch.equal(s.inputs.flatten().long(), s.targets) for s in found)  # type: ignore[union-attr]


@pytest.mark.usefixtures("numbered")
def test_a_smaller_subset_is_the_beginning_of_a_larger_one_and_words_are_numbers() -> None:
    small, large = (cifar10.resnet8(subset=n).train.targets for n in (50, "80"))  # type: ignore[arg-type, attr-defined]
    assert torch.equal(small, large[:50])


@pytest.mark.parametrize("network", ["resnet20", "cct7"])
def test_smaller_images_are_means_of_squares(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(600, 3, 32, 32)
    monkeypatch.setattr(vision, "_read", lambda *_, **__: (images, torch.arange(600)))
    task = load_task(f"cifar10/{network}", {"width": 8, "subset": 10, "augment": False, "side": "16"})
    inputs = task.train.inputs  # type: ignore[attr-defined]
    whole = load_task(f"cifar10/{network}", {"width": 8, "subset": 10}).train.inputs  # type: ignore[attr-defined]
    assert inputs.shape == (10, 3, 16, 16) and task.test is not None and task.test.inputs.shape[-1] == 16  # type: ignore[attr-defined]
    assert torch.allclose(inputs[:, :, 3, 5], whole[:, :, 6:8, 10:12].mean((2, 3)))
    assert task.model(inputs).shape == (10, 10)
    with pytest.raises(TaskError, match="side = 12: images of 32×32 can be averaged to a divisor of 32 only"):
        load_task(f"cifar10/{network}", {"side": 12})


@pytest.mark.parametrize(("flag", "on"), [(True, True), ("yes", True), ("1", True), ("no", False), (False, False)])
@pytest.mark.usefixtures("numbered")
def test_only_training_images_are_augmented(flag: bool | str, on: bool) -> None:
    task = cifar10.resnet8(subset=50, augment=flag)  # type: ignore[arg-type]
    assert (task.train.augment is not None) is on  # type: ignore[attr-defined]
    assert task.validation.augment is None and task.test.augment is None  # type: ignore[union-attr]
    assert cifar10.resnet18(width=4, subset=50).train.augment is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("subset", "asked", "augmented", "schedule"),
    [
        (None, None, True, "constant"),
        (50, None, False, "one-cycle"),
        (50, True, True, "one-cycle"),
        (None, "no", False, "constant"),
    ],
)
@pytest.mark.usefixtures("numbered")
def test_lenet5_is_the_papers_if_it_has_all_images(
    subset: int | None, asked: bool | None, augmented: bool, schedule: str
) -> None:
    task = mnist.lenet5(subset=subset, augment=asked)
    assert (task.train.augment is not None) is augmented  # type: ignore[attr-defined]
    assert task.recipe.schedule == schedule
    assert mnist.lenet5(12, subset=50).fresh_model(0).fc1.out_features == 240


def test_shaken_digits_turn_and_shift_on_black() -> None:
    black = -mnist.MEAN / mnist.STD
    image = torch.full((200, 1, 28, 28), black)
    image[:, :, 14, 4:24] = 1.0
    shaken = mnist.shake()(image, torch.Generator().manual_seed(0))
    rows = (shaken > 0).any(3).flatten(1)
    assert set(shaken.unique().tolist()) == set(image.unique().tolist())
    assert int(rows.any(0).sum()) >= 5 and int(rows.sum(1).max()) == 3  # 5° over 20 pixels are less than two rows


@real
@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_the_splits_do_not_overlap_and_are_standardised(data: str) -> None:
    task = load_task(f"{data}/resnet20", {"subset": 4000, "width": 4})
    assert [len(s) for s in (task.train, task.validation, task.test)] == [4000, 1000, 10_000]  # type: ignore[arg-type]
    images = [next(iter(s.batches(500)))[0].flatten(1) for s in (task.train, task.validation)]  # type: ignore[union-attr]
    assert float(torch.cdist(*images).min()) > 0
    assert abs(float(images[0].mean())) < 0.1 and 0.9 < float(images[0].std()) < 1.1


def test_missing_data_say_where_to_put_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")

    def reader(root: Path, train: bool, download: bool) -> None:
        raise OSError("no network") if download else RuntimeError("Dataset not found")

    monkeypatch.setattr(datasets, "MNIST", reader)
    place = tmp_path / "nothing"
    words = rf"MNIST is not in {place} and could not be downloaded \(no network\).*LLPF_DATA"
    with pytest.raises(TaskError, match=words):
        load_task("mnist/lenet5", {"data": str(place)})


def test_digits_are_split_once_and_for_all() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    first, again = digits(), digits()
    assert {name: len(split) for name, split in first.items()} == {"train": 1197, "validation": 300, "test": 300}
    assert all(torch.equal(first[name].inputs, again[name].inputs) for name in first)
    training = first["train"].inputs
    assert training.shape[1:] == (1, 8, 8) and abs(float(training.mean())) < 1e-6
    assert float(training.std()) == pytest.approx(1, abs=1e-6)
