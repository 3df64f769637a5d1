"""Prefixes of names are taken off or put on as a model has them, and come back on writing."""

from pathlib import Path

import pytest
import torch
from helpers.checkpoint_samples import doubled, network, same, sharded
from safetensors.torch import load_file, save_file
from torch import Tensor

from llpf_plugin.checkpoint import read, write
from llpf_plugin.preflight import fitted


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + k: t for k, t in state.items()}


@pytest.mark.parametrize("kind", ["pt", "safetensors", "shards"])
@pytest.mark.parametrize(
    ("file", "model", "note"),
    [
        ("model.", "", "the prefix 'model.' of its names is taken off"),
        ("", "net.", "the prefix 'net.' is put on its names"),
        (
            "model.backbone.",
            "encoder.",
            "the prefix 'model.backbone.' of its names is taken off and the prefix 'encoder.' is put",
        ),
        ("module.model.", "", "the prefix 'module.model.' of its names is taken off"),
    ],
)
def test_a_prefix_goes_and_comes_back(tmp_path: Path, kind: str, file: str, model: str, note: str) -> None:
    plain = dict(sorted(network().state_dict().items()))
    stored, place = prefixed(file, plain), tmp_path / f"a.{kind}"
    if kind == "shards":
        place = sharded(tmp_path / "a", stored)
    else:
        save_file(stored, place) if kind == "safetensors" else torch.save({"state_dict": stored}, place)
    found = read(place, names=prefixed(model, plain))
    assert same(dict(sorted(found.weights.items())), prefixed(model, plain))
    assert len(found.notes) == 1 and found.notes[0].startswith(note) and found.notes[0].endswith("undone on writing")

    out = write(tmp_path / "out", doubled(found.weights), like=found)
    again = read(out, names=prefixed(model, plain))
    assert same(dict(sorted(again.weights.items())), prefixed(model, doubled(plain)))
    assert again.names == found.names


def test_names_that_fit_stay_as_they_are(tmp_path: Path) -> None:
    state = prefixed("model.", network().state_dict())
    torch.save(state, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt", names=state)
    assert same(found.weights, state) and found.notes == ()
    other = read(tmp_path / "a.pt", names=["something.else", "and.more"])
    assert same(other.weights, state) and other.notes == ()


def test_of_two_parts_that_fit_none_is_taken(tmp_path: Path) -> None:
    state = {**prefixed("net.", network(0).state_dict()), **prefixed("target.", network(1).state_dict())}
    torch.save(state, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt", names=network().state_dict())
    assert same(found.weights, state) and found.beside == {} and found.notes == ()


@pytest.mark.parametrize("kind", ["pt", "safetensors", "shards"])
def test_what_lies_outside_of_the_prefix_stays_in_the_file(tmp_path: Path, kind: str) -> None:
    plain = network().state_dict()
    stored = {**prefixed("net.", plain), "criterion.weight": torch.arange(10.0), "metrics.count": torch.tensor(7)}
    place = tmp_path / f"a.{kind}"
    if kind == "shards":
        place = sharded(tmp_path / "a", stored)
    else:
        save_file(stored, place) if kind == "safetensors" else torch.save({"state_dict": stored}, place)
    found = read(place, names=plain)
    assert found.weights.keys() == plain.keys() and found.beside.keys() == {"criterion.weight", "metrics.count"}
    assert found.notes[1] == (
        "2 of its tensors, which lie outside, are not the model's and stay as they are: criterion.weight, metrics.count"
    )
    again = read(write(tmp_path / "out", doubled(found.weights), like=found)).weights
    assert again.keys() == stored.keys() and torch.equal(again["criterion.weight"], torch.arange(10.0))
    assert torch.equal(again["net.3.weight"], plain["3.weight"] * 2)


def test_tied_names_that_safetensors_leaves_out_get_the_prefix_too(tmp_path: Path) -> None:
    save_file(
        {"m.embed.weight": torch.ones(2)}, tmp_path / "a.safetensors", metadata={"m.head.weight": "m.embed.weight"}
    )
    found = read(tmp_path / "a.safetensors", names=["embed.weight", "head.weight"])
    assert found.weights.keys() == {"embed.weight", "head.weight"} and found.ties == [("embed.weight", "head.weight")]
    assert list(load_file(write(tmp_path / "m", found.weights, like=found))) == ["m.embed.weight"]


def test_the_model_may_be_a_small_part_of_the_file_and_alike_parts_are_not_chosen_from(tmp_path: Path) -> None:
    plain = network().state_dict()
    teacher = {f"{place}.{name}": tensor for place in "abc" for name, tensor in prefixed("teacher.", plain).items()}
    torch.save({**prefixed("net.", plain), **{f"other.{k}.x": t for k, t in teacher.items()}}, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt", names=plain)
    assert same(found.weights, plain) and len(found.beside) == 3 * len(plain)
    torch.save({**prefixed("student.", plain), **prefixed("teacher.", plain)}, tmp_path / "b.pt")
    assert read(tmp_path / "b.pt", names=plain).notes == ()


def test_names_that_only_the_file_ties_get_the_prefix_that_it_lacks(tmp_path: Path) -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.ModuleDict(
                {"embed": torch.nn.Linear(2, 2, False), "head": torch.nn.Linear(2, 2, False)}
            )

    save_file({"embed.weight": torch.ones(2, 2)}, tmp_path / "a.safetensors", metadata={"head.weight": "embed.weight"})
    found = fitted(read(tmp_path / "a.safetensors"), Model())
    weights = {"net.embed.weight": torch.zeros(2, 2), "net.head.weight": torch.ones(2, 2)}
    again = load_file(write(tmp_path / "m", weights, like=found))
    assert torch.equal(again["head.weight"], torch.ones(2, 2)) and torch.equal(again["embed.weight"], torch.zeros(2, 2))
