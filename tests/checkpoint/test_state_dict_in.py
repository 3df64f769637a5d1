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
from safetensors.torch import save_file
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
    with pytest.raises(CheckpointError, match=r"gan\.pt holds several.*generator \(9 tensors\), critic.*--state NAME"):
        read(tmp_path / "gan.pt")
    assert read(tmp_path / "gan.pt", state="critic").nesting == ("critic",)


@pytest.mark.parametrize("keys", [("state_dict", "state_dict_ema"), ("model", "ema"), ("model", "model_ema")])
def test_of_weights_and_their_average_either_is_taken_and_said(tmp_path: Path, keys: tuple[str, str]) -> None:
    first, ema = network(0), torch.optim.swa_utils.AveragedModel(network(1))
    torch.save({"epoch": 3, keys[0]: first.state_dict(), keys[1]: ema.state_dict()}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth", names=first.state_dict())
    assert same(found.weights, first.state_dict())
    assert found.notes == (f"the weights are those of '{keys[0]}'; --state {keys[1]} takes '{keys[1]}'",)

    other = read(tmp_path / "a.pth", state=keys[1], names=first.state_dict())
    assert same(other.weights, network(1).state_dict()) and list(other.beside) == ["n_averaged"]
    again = torch.load(write(tmp_path / "m.pth", doubled(other.weights), like=other))
    assert list(again) == ["epoch", keys[1]]
    ema.module.load_state_dict(doubled(other.weights))
    assert same(dict(again[keys[1]]), dict(ema.state_dict()))


def test_a_name_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    torch.save({"model": network().state_dict(), "ema": network().state_dict()}, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"a\.pt holds no weights called 'emma', but: model .*, ema \(9 tensors\)"
    ):
        read(tmp_path / "a.pt", state="emma")
    save_file(network().state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="one set of weights without a name: leave out --state ema"):
        read(tmp_path / "a.safetensors", state="ema")
