"""What every bad checkpoint and every bad task gets: one message that names it, exit code 1, and no folder."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, llpf, merge
from helpers.refusals import USAGE, refused
from safetensors.torch import save_file

from llpf_plugin.geometry.weights import Weights


@pytest.fixture
def with_b(asked_conv: list[object], tmp_path: Path) -> Callable[[Path], Result]:
    """Merges A with another file."""

    def merged(place: Path) -> Result:
        asked_conv[1] = place
        return merge(*asked_conv, "-o", tmp_path / "run")

    return merged


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> object:
    yield
    assert not (tmp_path / "run").exists()


def test_a_missing_file(with_b: Callable[[Path], Result], tmp_path: Path) -> None:
    refused(with_b(tmp_path / "none.pt"), "merge", "none.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_file(with_b: Callable[[Path], Result], tmp_path: Path, suffix: str) -> None:
    whole, broken = tmp_path / f"whole{suffix}", tmp_path / f"broken{suffix}"
    weights = tiny.pair("conv")[1]
    torch.save(weights, whole) if suffix == ".pt" else save_file(weights, whole)
    broken.write_bytes(whole.read_bytes()[:-200])
    refused(with_b(broken), "merge", broken.name)


class Bomb:
    """A pickle that would leave a folder behind if it were executed."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)


def test_a_pickle_with_code_is_not_executed(with_b: Callable[[Path], Result], tmp_path: Path) -> None:
    torch.save({"state_dict": tiny.pair("conv")[0], "x": Bomb(tmp_path / "bang")}, tmp_path / "bomb.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "bang")))
    refused(with_b(tmp_path / "bomb.pt"), "merge", "bomb.pt", "mkdir")
    refused(with_b(tmp_path / "raw.pt"), "merge", "raw.pt", "pickle")
    assert not (tmp_path / "bang").exists()


def changed(folder: Path, change: Callable[[Weights], object]) -> Path:
    weights = tiny.pair("conv")[1]
    change(weights)
    torch.save(weights, folder / "changed.pt")
    return folder / "changed.pt"


def test_another_architecture_lists_every_name(with_b: Callable[[Path], Result], tmp_path: Path) -> None:
    def change(weights: Weights) -> None:
        weights["fc.weight"] = torch.zeros(3, 7)
        weights["head.weight"] = weights.pop("conv2.weight")

    result = with_b(changed(tmp_path, change))
    refused(result, "merge", "fc.weight", "head.weight", "conv2.weight", "changed.pt")


def test_nan_weights(with_b: Callable[[Path], Result], tmp_path: Path) -> None:
    place = changed(tmp_path, lambda w: w["conv2.weight"].view(-1)[3].fill_(float("nan")))
    refused(with_b(place), "merge", "conv2.weight", "NaN")


def test_the_same_model_twice(with_b: Callable[[Path], Result], asked_conv: list[object]) -> None:
    refused(with_b(Path(str(asked_conv[0]))), "merge", "same")


# ---- tasks


COMMANDS = ("merge", "compare", "origin")


def with_task(command: str, checkpoints: list[Path], out: Path, task: str) -> Result:
    models = checkpoints[:1] if command == "origin" else checkpoints[:2]
    return llpf(command, *models, "--task", task, "-o", out, "--no-report")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_checkpoint_of_another_task(convs: list[Path], tmp_path: Path, command: str) -> None:
    result = with_task(command, convs, tmp_path / "run", f"{tiny.__file__}:mlp")
    refused(result, command, "the model", "conv1.weight")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_task_that_raises_names_its_line(convs: list[Path], tmp_path: Path, command: str) -> None:
    (tmp_path / "broken.py").write_text("def task():\n    return 1 / 0\n")
    result = with_task(command, convs, tmp_path / "run", f"{tmp_path / 'broken.py'}:task")
    refused(result, command, "broken.py", "line 2", "zero")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_task_lists_the_known_ones(convs: list[Path], tmp_path: Path, command: str) -> None:
    result = with_task(command, convs, tmp_path / "run", "digits/resent")
    refused(result, command, "did you mean digits/resnet")


@pytest.mark.parametrize(
    "words",
    [
        ["merge", "a.pt", "b.pt", "--task", "digits/mlp"],
        ["merge", "a.pt", "b.pt", "--model", "torchvision:resnet18"],
        ["compare", "a.pt", "b.pt", "--task", "digits/mlp"],
        ["origin", "a.pt", "--task", "digits/mlp"],
        ["report", "run"],
        ["demo"],
    ],
)
@pytest.mark.parametrize("name", ["out.pt", "page.html", "model.SafeTensors"])
def test_a_folder_that_is_called_like_a_file(words: list[str], name: str, tmp_path: Path) -> None:
    refused(llpf(*words, "-o", tmp_path / name), words[0], f"such as {Path(name).stem}", code=USAGE)
    assert not list(tmp_path.iterdir())
