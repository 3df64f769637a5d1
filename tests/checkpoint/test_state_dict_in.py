"""Where the state dict is, and what stays around it."""

import argparse
import collections
import copy
import pathlib
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.checkpoint_samples import doubled, network, same
from torch import nn

from llpf_plugin.checkpoint import read, write
from llpf_plugin.errors import CheckpointError


def training_checkpoint(model: nn.Module, key: str) -> dict[str, Any]:
    """What a training loop saves, after one step, so that the optimizer has state."""
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return {
        "epoch": 90,
        "arch": "resnet18",
        "best_acc1": torch.tensor(71.5),
        "optimal_threshold": 0.5,
        key: model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "rng_state": torch.get_rng_state(),
        "model_ema": copy.deepcopy(model.state_dict()),
        "args": argparse.Namespace(lr=0.1, data=pathlib.Path("/data")),
    }


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net", "brain"])
def test_nested_checkpoint(tmp_path: Path, key: str) -> None:
    model = network()
    saved = training_checkpoint(model, key)
    if key == "brain":  # no well-known key: only its structure tells
        del saved["model_ema"]
    torch.save(saved, tmp_path / "a.pth")

    checkpoint = read(tmp_path / "a.pth")
    assert same(checkpoint.weights, model.state_dict())
    assert checkpoint.nesting == (key,)
    assert "optimizer (optimizer state)" in checkpoint.left_out
    assert "lr_scheduler (training state)" in checkpoint.left_out
    assert ("model_ema (9 other tensors)" in checkpoint.left_out) == (key != "brain")

    out = write(tmp_path / "merged", doubled(checkpoint.weights), like=checkpoint)
    assert out == tmp_path / "merged.pth"
    again = torch.load(out, weights_only=False)
    assert list(again) == ["epoch", "arch", "best_acc1", "optimal_threshold", key, "args"]
    assert same(again[key], doubled(model.state_dict()))
    assert again["args"] == saved["args"]
    assert again["best_acc1"] == 71.5


def test_raw_state_dict_keeps_its_type_and_module_versions(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    assert checkpoint.nesting == () and checkpoint.left_out == ()
    again = torch.load(write(tmp_path / "m.pt", checkpoint.weights, like=checkpoint))
    assert type(again) is collections.OrderedDict
    assert again._metadata == network().state_dict()._metadata


def test_deep_nesting_and_values_between_the_tensors(tmp_path: Path) -> None:
    state = {**network().state_dict(), "temperature": 0.5, "labels": ["cat", "dog"]}
    torch.save({"trainer": {"model": state, "step": 5}}, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    assert checkpoint.nesting == ("trainer", "model")
    assert same(checkpoint.weights, network().state_dict())
    again = torch.load(write(tmp_path / "m.pt", checkpoint.weights, like=checkpoint))
    assert list(again["trainer"]["model"]) == list(state)
    assert again["trainer"]["model"]["labels"] == ["cat", "dog"]


def test_several_models_are_not_guessed_at(tmp_path: Path) -> None:
    torch.save({"generator": network().state_dict(), "critic": network().state_dict()}, tmp_path / "gan.pt")
    with pytest.raises(CheckpointError, match=r"gan\.pt holds several.*generator \(9 tensors\), critic.*by itself"):
        read(tmp_path / "gan.pt")
