"""Every form that a checkpoint comes in is read to plain weights, or refused."""

import contextlib
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.checkpoint_samples import Tied, doubled, network, same, torch_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from llpf_plugin.checkpoint import read, write
from llpf_plugin.errors import CheckpointError


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_wrapper_prefixes(tmp_path: Path, prefix: str, suffix: str) -> None:
    plain = network().state_dict()
    state = {prefix + k: t for k, t in plain.items()}
    path = tmp_path / f"a{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"model": state}, path)

    checkpoint = read(path)
    assert same({k: checkpoint.weights[k] for k in plain}, plain) and len(checkpoint.weights) == len(plain)
    assert checkpoint.names == {k: prefix + k for k in checkpoint.weights}
    out = write(tmp_path / "merged", checkpoint.weights, like=checkpoint)
    again = load_file(out) if suffix == ".safetensors" else torch.load(out)["model"]
    assert same(dict(sorted(again.items())), dict(sorted(state.items())))


def test_real_wrappers(tmp_path: Path) -> None:
    model = network()
    wrapped = nn.DataParallel(torch.compile(model))  # compiling is lazy: nothing is compiled here
    torch.save(wrapped.state_dict(), tmp_path / "a.pt")
    assert same(read(tmp_path / "a.pt").weights, model.state_dict())
    model[3] = torch.compile(model[3])
    torch.save(model.state_dict(), tmp_path / "part.pt")
    assert list(read(tmp_path / "part.pt").weights) == list(network().state_dict())


def test_a_submodule_that_is_called_module_keeps_its_name(tmp_path: Path) -> None:
    state = {"module.weight": torch.ones(2), "head.weight": torch.ones(2)}
    torch.save(state, tmp_path / "a.pt")
    assert list(read(tmp_path / "a.pt").weights) == list(state)


def test_tied_tensors_stay_tied_in_pt(tmp_path: Path) -> None:
    model = Tied()
    torch.save({"model": model.state_dict()}, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    assert checkpoint.ties == [("embed.weight", "head.weight")]
    assert checkpoint.weights["embed.weight"] is checkpoint.weights["head.weight"]

    for given_weights in (doubled(checkpoint.weights), {"head.weight": checkpoint.weights["head.weight"] * 2}):
        again = torch.load(write(tmp_path / "m.pt", given_weights, like=checkpoint))["model"]
        assert again["embed.weight"].data_ptr() == again["head.weight"].data_ptr()
        assert torch.equal(again["embed.weight"], model.embed.weight * 2)


def test_tied_tensors_in_safetensors_keep_the_one_name_of_the_source(tmp_path: Path) -> None:
    model = Tied()
    save_model(model, tmp_path / "a.safetensors", metadata={"format": "pt"})
    (stored,) = load_file(tmp_path / "a.safetensors")
    checkpoint = read(tmp_path / "a.safetensors")
    assert sorted(checkpoint.weights) == ["embed.weight", "head.weight"]
    assert [sorted(group) for group in checkpoint.ties] == [["embed.weight", "head.weight"]]

    out = write(tmp_path / "m.safetensors", doubled(checkpoint.weights), like=checkpoint)
    assert list(load_file(out)) == [stored]
    with safe_open(out, "pt") as file, safe_open(tmp_path / "a.safetensors", "pt") as source:
        assert file.metadata() == source.metadata()
    assert torch.equal(read(out).weights["head.weight"], model.head.weight * 2)


def test_weights_do_not_depend_on_the_file_any_more(tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors"):
        path = tmp_path / name
        (save_file if name.endswith("safetensors") else torch.save)({"w": torch.ones(50_000)}, path)
        weights = read(path).weights
        path.write_bytes(bytes(path.stat().st_size))
        assert weights["w"].sum() == 50_000


def test_folder_with_one_file(tmp_path: Path) -> None:
    (tmp_path / "model-v1.5").mkdir()
    save_file(network().state_dict(), tmp_path / "model-v1.5" / "model.safetensors")
    checkpoint = read(tmp_path / "model-v1.5")
    assert checkpoint.format == "safetensors"
    assert write(tmp_path / "merged", checkpoint.weights, like=checkpoint).name == "merged.safetensors"


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "a list": (torch_bytes([1, 2]), r"no state dict \(it is a list\): save model.state_dict"),
    "no tensors": (torch_bytes({"epoch": 3, "lr": 0.1}), r"no state dict \(it has the keys 'epoch', 'lr'\)"),
    "only an optimizer": (
        torch_bytes(torch.optim.SGD([torch.ones(2)], momentum=0.9).state_dict()),
        "no state dict",
    ),
    "sparse": (torch_bytes({"w": torch.zeros(2), "s": torch.eye(2).to_sparse()}), "'s' is sparse.*dense"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(tmp_path: Path, name: str) -> None:
    content, message = BAD_FILES[name]
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(tmp_path / "a.pt")
    assert str(tmp_path / "a.pt") in str(caught.value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["torch", "legacy", "safetensors"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_damaged_bytes_are_read_or_refused_and_nothing_else(
    tmp_path: Path, form: str, damage: list[tuple[float, int]]
) -> None:
    save_file({"w": torch.zeros(3)}, tmp_path / "good")
    value = {"model": {"w": torch.zeros(3)}, "args": Namespace(lr=np.float64(0.1), mean=np.ones(3))}
    content = bytearray(
        (tmp_path / "good").read_bytes()
        if form == "safetensors"
        else torch_bytes(value, _use_new_zipfile_serialization=form == "torch")
    )
    for place, byte in damage:
        content[int(place * len(content))] = byte
    (tmp_path / "a.pt").write_bytes(content)
    with contextlib.suppress(CheckpointError):
        assert read(tmp_path / "a.pt").weights
