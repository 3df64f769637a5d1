"""``-m schedule=NAME``: the paper's settings by name, on its models with a few random images."""

import re
from importlib import resources
from pathlib import Path

import pytest
import torch
from helpers.commands import Result, llpf
from helpers.refusals import refused
from helpers.run_folders import record

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


def shortened(name: str, folder: Path) -> Path:
    """A shipped schedule with `TICKS` ticks a phase."""
    text = (resources.files("llpf_plugin.llpf") / "schedules" / f"{name}.yaml").read_text()
    place = folder / f"{name}.yaml"
    place.write_text(re.sub(r"ticks: \d+", f"ticks: {TICKS}", text))
    return place


def walked(command: str, models: list[Path], task: str, schedule: object, out: Path, *more: object) -> Result:
    words = ["--task", f"{HERE}:{task}", "-m", f"schedule={schedule}", "--tolerance", 5, *more]
    return llpf(command, *models, *words, "--points", 1, "--device", "cpu", "--no-report", "-o", out)


lenets = pytest.mark.parametrize("pair", ["lenet"], indirect=True)
resnets = pytest.mark.parametrize("pair", ["resnet"], indirect=True)


@lenets
def test_table_4_all_layers_at_once(pair: list[Path], tmp_path: Path) -> None:
    """LeNet5 on MNIST: every tick settles with five steps at a learning rate of 0.001."""
    result = walked("merge", pair, "lenet", shortened("lenet5-mnist", tmp_path), tmp_path / "run")
    assert result.code in (0, 3), result.text
    ticks = record(tmp_path / "run")
    assert len(ticks) == TICKS
    assert {(tick["phase"], tick["steps"], tick["lr"], tick["kept"]) for tick in ticks} == {
        ("all layers", 5, 0.001, True)
    }


@resnets
def test_table_4_follow_data_flow(pair: list[Path], tmp_path: Path) -> None:
    """ResNet18 on CIFAR-10: the stem, stage after stage, all layers; a settling is one of at least 20 steps."""
    text = shortened("resnet18-cifar10-fdf", tmp_path)
    text.write_text(text.read_text().replace("max_steps: 20000", "max_steps: 21"))
    result = walked("merge", pair, "resnet", text, tmp_path / "run")
    assert result.code in (0, 3), result.text
    ticks = record(tmp_path / "run")
    names = ["stem", "+layer1", "+layer2", "+layer3", "+layer4", "all layers"]
    assert [tick["phase"] for tick in ticks] == [name for name in names for _ in range(TICKS)]
    assert all(tick["steps"] >= 20 and tick["lr"] == 0.001 for tick in ticks)


@lenets
def test_table_5_towards_the_origin(pair: list[Path], tmp_path: Path) -> None:
    result = walked("origin", pair[:1], "lenet", "lenet5-mnist-origin", tmp_path / "run", "--ticks", TICKS)
    assert result.code in (0, 3), result.text
    ticks = record(tmp_path / "run")
    assert len(ticks) == TICKS
    assert {tick["phase"] for tick in ticks} == {"all layers"}
    assert all(5 <= tick["steps"] <= 100 for tick in ticks)


@pytest.mark.parametrize(
    ("command", "pair", "task", "schedule", "least"),
    [
        ("merge", "lenet", "lenet", "lenet5-mnist", "150,000"),
        ("merge", "resnet", "resnet", "resnet18-cifar10-fdf", "320,000"),
        ("origin", "lenet", "lenet", "lenet5-mnist-origin", "7,000"),
    ],
    indirect=["pair"],
)
def test_a_budget_that_cannot_be_enough_is_refused_with_the_number(
    command: str, pair: list[Path], task: str, schedule: str, least: str, tmp_path: Path
) -> None:
    models = pair[:1] if command == "origin" else pair
    result = walked(command, models, task, schedule, tmp_path / "run", "--budget", 6999)
    refused(result, command, "budget = 6999", schedule, least)
    assert not (tmp_path / "run").exists()


@resnets
def test_a_dry_run_shows_the_phases_of_the_schedule_and_what_it_costs(pair: list[Path], tmp_path: Path) -> None:
    result = walked("merge", pair, "resnet", "resnet18-cifar10", tmp_path / "run", "--dry-run")
    assert result.code == 0, result.text
    rows = [line.split() for line in result.out.splitlines()]
    assert ["stem", "conv1,", "bn1,", "fc", "5,000", "loss", "≤", "0.04", "10", "to", "200"] in rows
    assert ["all", "layers", "all", "10,000", "loss", "≤", "0.04", "10", "to", "200"] in rows
    assert "at least 350,000 gradient steps" in result.out and "budget of 7,000,000 gradient steps" in result.out
    assert not (tmp_path / "run").exists()


@lenets
def test_a_dry_run_towards_the_origin_shows_its_ticks(pair: list[Path], tmp_path: Path) -> None:
    words = ("--dry-run", "--ticks", 30)
    result = walked("origin", pair[:1], "lenet", "lenet5-mnist-origin", tmp_path / "run", *words)
    rows = [line.split() for line in result.out.splitlines()]
    assert ["all", "layers", "all", "30", "loss", "≤", "0.02", "5", "to", "100"] in rows
    assert "at least 150 gradient steps" in result.out and "budget of 3,000 gradient steps" in result.out


@lenets
def test_a_schedule_of_another_model_is_refused(pair: list[Path], tmp_path: Path) -> None:
    result = walked("merge", pair, "lenet", "resnet18-cifar10-fdf", tmp_path / "run")
    refused(result, "merge", "resnet18-cifar10-fdf")
    assert not (tmp_path / "run").exists()


@lenets
def test_an_unknown_name_lists_those_that_are_shipped(pair: list[Path], tmp_path: Path) -> None:
    result = walked("merge", pair, "lenet", "lenet5-minst", tmp_path / "run")
    refused(result, "merge", "lenet5-minst", *shipped())
