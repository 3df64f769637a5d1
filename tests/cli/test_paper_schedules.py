"""``-m schedule=NAME``: the paper's settings by name, on its models with a few random images."""

from pathlib import Path

import pytest
import torch
from helpers.commands import Result, llpf
from helpers.refusals import refused
from helpers.run_folders import read, record

from llpf_plugin import Defaults, Task, TensorData
from llpf_plugin.llpf import shipped
from llpf_plugin.tasks.models import LeNet5, SmallResNet

HERE = f"{Path(__file__)}"
TICKS = 4


def images(channels: int, side: int) -> TensorData:
    rng = torch.Generator().manual_seed(0)
    return TensorData(torch.randn(32, channels, side, side, generator=rng), torch.arange(32) % 10)


def lenet() -> Task:
    return Task(LeNet5(), images(1, 28), defaults=Defaults(batch_size=8, lr=0.01))


def resnet() -> Task:
    return Task(SmallResNet(2, (2, 2, 2, 2)), images(3, 8), defaults=Defaults(batch_size=8, lr=0.01))


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """Two networks of a task, as they are made."""
    places = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for seed, place in enumerate(places):
        torch.manual_seed(seed)
        torch.save({"state_dict": {"lenet": lenet, "resnet": resnet}[request.param]().model.state_dict()}, place)
    return places


def walked(command: str, models: list[Path], task: str, schedule: str, steps: int, out: Path) -> Result:
    words = ["--task", f"{HERE}:{task}", "-m", f"schedule={schedule}", "--budget", steps, "--tolerance", 5]
    return llpf(command, *models, *words, "--points", 1, "--device", "cpu", "--no-report", "-o", out)


@pytest.mark.parametrize("pair", ["lenet"], indirect=True)
def test_table_4_all_layers_at_once(pair: list[Path], tmp_path: Path) -> None:
    """LeNet5 on MNIST: after every tick five gradient steps at a learning rate of 0.001, and 0.1 % of the distance."""
    result = walked("merge", pair, "lenet", "lenet5-mnist", 5 * TICKS, tmp_path / "run")
    assert result.code in (0, 3), result.text
    ticks = record(tmp_path / "run")[:TICKS]
    assert len(ticks) == TICKS
    assert {(tick["phase"], tick["steps"], tick["lr"], tick["kept"]) for tick in ticks} == {
        ("all layers", 5, 0.001, True)
    }
    asked = read(tmp_path / "run", "run")["asked"]["method_settings"]
    assert asked["schedule"] == "lenet5-mnist"


@pytest.mark.parametrize("pair", ["resnet"], indirect=True)
def test_table_4_follow_data_flow(pair: list[Path], tmp_path: Path) -> None:
    """ResNet18 on CIFAR-10 begins with the stem alone."""
    result = walked("merge", pair, "resnet", "resnet18-cifar10-fdf", 60, tmp_path / "run")
    assert result.code in (0, 3), result.text
    ticks = record(tmp_path / "run")
    assert ticks and {(tick["phase"], tick["lr"]) for tick in ticks} == {("stem", 0.001)}
    assert all(tick["steps"] >= 20 for tick in ticks)


@pytest.mark.parametrize("pair", ["lenet"], indirect=True)
def test_table_5_towards_the_origin(pair: list[Path], tmp_path: Path) -> None:
    result = walked("origin", pair[:1], "lenet", "lenet5-mnist-origin", 5 * TICKS, tmp_path / "run")
    assert result.code in (0, 3), result.text
    ticks = record(tmp_path / "run")[:TICKS]
    assert len(ticks) == TICKS
    assert {tick["phase"] for tick in ticks} == {"all layers"} and {tick["steps"] for tick in ticks} == {5}


@pytest.mark.parametrize("pair", ["lenet"], indirect=True)
def test_a_schedule_of_another_model_is_refused(pair: list[Path], tmp_path: Path) -> None:
    result = walked("merge", pair, "lenet", "resnet18-cifar10-fdf", 5, tmp_path / "run")
    refused(result, "merge", "resnet18-cifar10-fdf")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("pair", ["lenet"], indirect=True)
def test_an_unknown_name_lists_those_that_are_shipped(pair: list[Path], tmp_path: Path) -> None:
    result = walked("merge", pair, "lenet", "lenet5-minst", 5, tmp_path / "run")
    refused(result, "merge", "lenet5-minst", *shipped())
