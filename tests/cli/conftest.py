"""Checkpoints of tiny networks, which no test changes, and the words that ask for a short merge of two of them."""

from pathlib import Path

import pytest
import torch
from helpers import tiny

MLP, CONV = f"{tiny.__file__}:mlp", f"{tiny.__file__}:conv"


@pytest.fixture(scope="session")
def mlps(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three networks of two linear layers."""
    folder = tmp_path_factory.mktemp("mlps")
    places = [folder / f"{name}.pt" for name in "abc"]
    for seed, place in enumerate(places, start=1):
        torch.save({"state_dict": tiny.trained("mlp", seed)}, place)
    return places


@pytest.fixture(scope="session")
def convs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two convolutional networks as people have them: nested, with optimizer state, from a wrapped model."""
    folder = tmp_path_factory.mktemp("convs")
    places = [folder / f"{name}.pt" for name in "ab"]
    for place, weights in zip(places, tiny.pair("conv"), strict=True):
        state = {f"module.{k}": t for k, t in weights.items()}
        torch.save({"state_dict": state, "optimizer": {"lr": 0.1}, "epoch": 20}, place)
    return places


@pytest.fixture
def pageless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are measured and their numbers written, without the page, which takes a second to draw."""

    def nothing(measured: object, page: Path, *_: object, **__: object) -> tuple[Path, list[Path]]:
        return page, []

    monkeypatch.setattr("llpf_plugin.report.write_report", nothing)


@pytest.fixture
def asked(mlps: list[Path]) -> list[object]:
    """The words that ask for a short merge of two networks, which connects; ``-o`` is still to be said."""
    return [*mlps[:2], "--task", MLP, "--max-loss", 0.2, "--points", 1, "--device", "cpu", "--no-report"]


@pytest.fixture
def asked_conv(convs: list[Path]) -> list[object]:
    """The same of the convolutional networks."""
    return [*convs, "--task", CONV, "--max-loss", 0.2, "--device", "cpu", "--no-report"]
