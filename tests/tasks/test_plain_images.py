"""Classifiers of torchvision and timm on a folder of images: what is read, how it is prepared, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llpf_plugin import find_path
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks import load_task
from llpf_plugin.tasks.plain import pictures
from llpf_plugin.training import train

torchvision = pytest.importorskip("torchvision", reason="torchvision reads folders of images")
timm = pytest.importorskip("timm", reason="timm has the small network")
PIL = pytest.importorskip("PIL.Image", reason="Pillow writes the images")

CLASSES, EACH, SIDE = ("left", "right", "top"), 20, 32


def write(root: Path, each: int = EACH, classes: tuple[str, ...] = CLASSES) -> Path:
    """Noisy images with a bright bar, whose place is their class."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(classes):
        for i in range(each):
            pixels = rng.integers(0, 100, (40, 48, 3), dtype="uint8")
            pixels[(slice(0, 12) if label == 2 else slice(None)), slice(*((0, 16), (32, 48), (0, 48))[label])] += 120
            place = root / name / f"{i:03}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            PIL.fromarray(pixels).save(place)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("images"))


def arguments(folder: Path, **more: Any) -> dict[str, Any]:
    return {"data": str(folder), "side": SIDE, **more}


def test_every_image_is_in_one_split_and_prepared_as_timm_does_it(folder: Path) -> None:
    task = load_task("images/test_resnet", arguments(folder))
    splits: Any = (task.train, task.validation, task.test)
    assert [len(split) for split in splits] == [48, 6, 6] and tuple(task.classes) == CLASSES
    assert sorted(file for split in splits for file in split.files) == sorted(map(str, folder.rglob("*.png")))
    config = timm.data.resolve_model_data_config(task.model) | {"input_size": (3, SIDE, SIDE)}
    transform = timm.data.create_transform(**config, is_training=False)
    first = splits[0].files[0]
    mine = splits[0].rows(torch.tensor([0]))[0][0]
    assert (mine - transform(PIL.open(first))).abs().max() < 1e-5
    assert splits[0].targets.tolist() == [CLASSES.index(Path(file).parent.name) for file in splits[0].files]


def test_batches_are_a_function_of_seed_and_step_decoded_once_or_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: Any = load_task("images/test_resnet", arguments(folder, augment=True)).train
    kept.batch(16, 3, 0)
    monkeypatch.setattr(pictures, "HELD", 1)
    read: Any = load_task("images/test_resnet", arguments(folder, augment=True)).train
    for step in (5, 0, 9, 5):
        ours, theirs = kept.batch(16, 3, step), read.batch(16, 3, step)
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    assert kept._pixels is not None and read._pixels is None
    assert not torch.equal(kept.batch(16, 3, 0)[0], kept.batch(16, 4, 0)[0])
    drawn = read.draw(9, 0)
    assert torch.cat([targets for _, targets in drawn.batches(4)]).bincount().tolist() == [3, 3, 3]


def test_folders_of_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    for part, each in (("train", 8), ("val", 3)):
        write(tmp_path / part, each)
    task = load_task("images/test_resnet", arguments(tmp_path))
    splits: Any = (task.train, task.validation, task.test)
    assert [len(split) for split in splits] == [22, 9, 2]
    assert all("/val/" in file for file in splits[1].files)


def test_two_networks_learn_and_are_joined(folder: Path) -> None:
    task = load_task("images/test_resnet", arguments(folder))
    a, b = (train(task, seed, epochs=8, lr=0.02) for seed in (0, 1))
    path = find_path(a, b, task, "linear")
    assert path.quality.ends["A"].train < 0.5 > path.quality.ends["B"].train
    assert path.quality.maximum > path.quality.ends["A"].train


def test_settings_go_to_the_constructor_and_the_library_can_be_named(folder: Path) -> None:
    from_timm = load_task("images/resnet18", arguments(folder, library="timm", drop_rate=0.3)).model
    assert type(from_timm).__module__.startswith("timm") and from_timm.drop_rate == 0.3
    ours = load_task("images/mobilenet_v3_small", arguments(folder)).model
    assert type(ours).__module__.startswith("torchvision")
    assert ours(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, 3)


@pytest.mark.parametrize(
    ("network", "more", "told"),
    [
        ("test_resnet", {"data": "nowhere"}, "nowhere: there is no such folder"),
        ("test_resnet", {"data": None}, "give -t data=FOLDER"),
        ("test_resmet", {}, "neither torchvision nor timm has a classifier 'test_resmet': did you mean"),
        ("test_resnet", {"library": "jax"}, "it is torchvision or timm"),
        ("test_resnet", {"colour": 3}, "building test_resnet of timm failed: TypeError"),
        ("test_resnet", {"library": "torchvision"}, "building test_resnet of torchvision failed"),
    ],
)
def test_what_makes_no_sense_gets_one_sentence(folder: Path, network: str, more: dict[str, Any], told: str) -> None:
    with pytest.raises(TaskError, match=told):
        load_task(f"images/{network}", arguments(folder) | more)


def test_folders_that_are_none_of_classes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="has 0 folders: there must be one for each class"):
        load_task("images/test_resnet", arguments(folder / "left"))
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
    with pytest.raises(TaskError, match="has no images that torchvision reads"):
        load_task("images/test_resnet", arguments(tmp_path))
    write(tmp_path / "val", 1)
    with pytest.raises(TaskError, match=r"has classes that .*train has not: left, right, top"):
        load_task("images/test_resnet", arguments(tmp_path))


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "left" / "000.png").write_bytes(b"no image")
    task: Any = load_task("images/test_resnet", arguments(tmp_path))
    with pytest.raises(TaskError, match=r"reading the image .*000.png failed"):
        for split in (task.train, task.validation, task.test):
            list(split.batches(16))
