"""Data that are sorted by class, as every folder of images is, give the same numbers as shuffled ones."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch
from helpers.commands import merge
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from llpf_plugin import LoaderData, Quality, Task, TensorData, find_path

CLASSES, N = 4, 2048


def network() -> nn.Module:
    hidden = [nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 24), nn.BatchNorm1d(24), nn.ReLU()]
    return nn.Sequential(nn.BatchNorm1d(8), *hidden, nn.Linear(24, CLASSES))


def examples(seed: int) -> tuple[Tensor, Tensor]:
    """Inputs far apart by class, sorted by it, and targets of which every seventh or so is wrong."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(CLASSES).repeat_interleave(N // CLASSES)
    x = torch.randn(N, 8, generator=rng)
    x[torch.arange(N), y] += 5
    return x, torch.where(torch.rand(N, generator=rng) < 0.15, (y + 1) % CLASSES, y)


@cache
def trained(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    model, (x, y) = network(), examples(0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(2):
        for batch in torch.randperm(N).split(50):
            optimizer.zero_grad()
            cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model.state_dict()


def task(loader: bool, shuffled: bool) -> Task:
    x, y = examples(0)
    if shuffled:
        order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
        x, y = x[order], y[order]
    train = LoaderData(DataLoader(TensorDataset(x, y), 50)) if loader else TensorData(x, y)
    return Task(network(), train, TensorData(*examples(1)))


def loader_sorted() -> Task:
    return task(loader=True, shuffled=False)


def loader_shuffled() -> Task:
    return task(loader=True, shuffled=True)


def tensors_sorted() -> Task:
    return task(loader=False, shuffled=False)


def tensors_shuffled() -> Task:
    return task(loader=False, shuffled=True)


def measured(name: str, sample: int | None = None) -> Quality:
    return find_path(
        trained(0), trained(1), globals()[name](), method="linear", sample=sample, points=2, tolerance=5.0
    ).quality


@pytest.mark.parametrize("kind", ["loader", "tensors"])
def test_batch_statistics_are_those_of_shuffled_data(kind: str) -> None:
    found, right = (measured(f"{kind}_{order}").ends["A"] for order in ("sorted", "shuffled"))
    assert found["train"] == pytest.approx(right["train"], rel=0.1)
    assert found["validation"] == pytest.approx(right["validation"], rel=0.1)


def test_the_merged_model_has_the_statistics_of_shuffled_data() -> None:
    x, y = examples(2)
    losses = []
    for order in ("sorted", "shuffled"):
        model = network()
        model.load_state_dict(measured(f"loader_{order}").pick(0.1).weights)
        losses.append(float(cross_entropy(model.eval()(x), y)))
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


@pytest.mark.parametrize("kind", ["loader", "tensors"])
def test_a_sample_is_drawn_from_all_classes(kind: str) -> None:
    found, right = (measured(f"{kind}_{order}", sample=200).ends["A"] for order in ("sorted", "shuffled"))
    assert found["train"] == pytest.approx(right["train"], rel=0.35)
    assert found["validation"] == pytest.approx(right["validation"], rel=0.2)


@pytest.mark.parametrize("kind", ["loader", "tensors"])
def test_the_straight_line_is_measured_on_a_sample_of_all_classes(tmp_path: Path, kind: str) -> None:
    for seed in (0, 1):
        torch.save(trained(seed), tmp_path / f"{seed}.pt")
    numbers = []
    for order in ("sorted", "shuffled"):
        named = f"{__file__}:{kind}_{order}"
        result = merge(tmp_path / "0.pt", tmp_path / "1.pt", "--task", named, "-o", tmp_path / "run", "--dry-run")
        assert result.code == 0, result.text
        sentence = next(line for line in result.out.splitlines() if "straight line" in line)
        numbers.append([float(number) for number in re.findall(r"\d+\.\d+", sentence)])
    assert numbers[0] and numbers[0] == pytest.approx(numbers[1], rel=0.2)
