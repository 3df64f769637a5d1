"""Weights are written in the form in which a checkpoint came, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.checkpoint_samples import Tied, doubled, file_size_limit, network, same, sharded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from llpf_plugin.checkpoint import fingerprint, read, write
from llpf_plugin.errors import CheckpointError, MismatchError, RunError


def test_tied_names_that_came_apart_are_refused(tmp_path: Path) -> None:
    torch.save(Tied().state_dict(), tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    apart = {"embed.weight": torch.zeros(7, 3), "head.weight": torch.ones(7, 3)}
    with pytest.raises(MismatchError, match=r"embed\.weight and head\.weight are tied"):
        write(tmp_path / "m.pt", apart, like=checkpoint)
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_dtypes_come_back(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    state = network().to(dtype).state_dict()
    path = tmp_path / f"a{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    checkpoint = read(path)
    wide = {k: t.float() if t.is_floating_point() else t for k, t in checkpoint.weights.items()}
    again = read(write(tmp_path / "m", wide, like=checkpoint))
    assert {k: t.dtype for k, t in again.weights.items()} == {k: t.dtype for k, t in state.items()}
    assert again.weights["1.num_batches_tracked"].dtype == torch.int64


def test_overflow_of_the_source_dtype_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3, dtype=torch.float16)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"w: 1 values are too large for torch\.float16"):
        write(tmp_path / "m.pt", {"w": torch.tensor([1.0, 1e9, -2.0])}, like=read(tmp_path / "a.pt"))


def test_views_are_saved_without_the_memory_around_them(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10), "b": torch.zeros(10)}, tmp_path / "a.pt")
    flat = torch.arange(100_000.0)
    merged = {"a": flat[:10], "b": flat[5:15]}
    out = write(tmp_path / "m.pt", merged, like=read(tmp_path / "a.pt"))
    assert out.stat().st_size < 10_000
    assert same(torch.load(out), merged)


def test_write_needs_all_names_and_the_right_suffix(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "a.pth.tar")
    checkpoint = read(tmp_path / "a.pth.tar")
    with pytest.raises(MismatchError, match=r"lack 0\.bias"):
        write(tmp_path / "m.pt", {"0.weight": torch.ones(4, 1, 3, 3)}, like=checkpoint)
    with pytest.raises(CheckpointError, match=r"m\.safetensors has the suffix.*name it m\.tar"):
        write(tmp_path / "m.safetensors", checkpoint.weights, like=checkpoint)
    assert write(tmp_path / "t=0.5", checkpoint.weights, like=checkpoint).name == "t=0.5.tar"


def test_full_disk_leaves_the_old_merged_model(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(50_000)}, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    out = write(tmp_path / "m.pt", checkpoint.weights, like=checkpoint)
    with file_size_limit(10_000), pytest.raises(RunError, match=r"m\.pt was not written"):
        write(out, doubled(checkpoint.weights), like=checkpoint)
    assert read(out).weights["w"].sum() == 50_000
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pt", "m.pt"]


def test_shards_in_shards_out(tmp_path: Path) -> None:
    state = network().state_dict()
    source = sharded(tmp_path / "a", state)
    checkpoint = read(source)
    assert same(dict(sorted(checkpoint.weights.items())), dict(sorted(state.items())))
    assert fingerprint(checkpoint.weights) == fingerprint(read(source / "model.safetensors.index.json").weights)

    for _ in range(2):  # the second time it replaces its own result
        out = write(tmp_path / "merged", doubled(checkpoint.weights), like=checkpoint)
    assert out.is_dir()
    assert sorted(f.name for f in out.iterdir()) == sorted(f.name for f in source.iterdir())
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == json.loads((source / "model.safetensors.index.json").read_text())["weight_map"]
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in state.values())
    assert fingerprint(read(out).weights) == fingerprint(doubled(state))
    with safe_open(out / "model-00001-of-00002.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_shards_never_replace_other_files(tmp_path: Path) -> None:
    source = sharded(tmp_path / "a", network().state_dict())
    checkpoint = read(source)
    with pytest.raises(RunError, match=r"a holds other files \(config\.json\)"):
        write(source, checkpoint.weights, like=checkpoint)
    with pytest.raises(CheckpointError, match=r"merged\.safetensors must name one"):
        write(tmp_path / "merged.safetensors", checkpoint.weights, like=checkpoint)


DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]


NAMES = st.text("abc01_", min_size=1, max_size=4)


SHAPES = st.lists(st.integers(0, 3), max_size=3)


SPECS = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map(".".join), st.tuples(SHAPES, st.sampled_from(DTYPES)), min_size=1
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    specs=SPECS,
    form=st.sampled_from(["torch", "legacy", "safetensors"]),
    nesting=st.sampled_from([(), ("model",), ("a", "state_dict")]),
    prefix=st.sampled_from(["", "module.", "_orig_mod.", "module._orig_mod."]),
    tie=st.booleans(),
)
def test_round_trip(
    tmp_path: Path,
    specs: dict[str, tuple[list[int], torch.dtype]],
    form: str,
    nesting: tuple[str, ...],
    prefix: str,
    tie: bool,
) -> None:
    torch.manual_seed(0)
    state = {prefix + k: (torch.randn(shape) * 3).to(dtype) for k, (shape, dtype) in specs.items()}
    state[prefix + "z.last"] = torch.randn(2, 3)  # without any floating-point vector there would be no state dict
    if tie and form != "safetensors":
        state[prefix + "z.tied"] = state[prefix + "z.last"]
    path = tmp_path / ("a.safetensors" if form == "safetensors" else "a.pt")
    tree: Any = state
    for key in reversed(nesting):
        tree = {"epoch": 1, key: tree}
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(tree, path, _use_new_zipfile_serialization=form == "torch")

    checkpoint = read(path)
    assert {prefix + k for k in checkpoint.weights} == set(state)
    again = read(write(tmp_path / "m", checkpoint.weights, like=checkpoint))
    assert fingerprint(again.weights) == fingerprint({k.removeprefix(prefix): t for k, t in state.items()})
    assert (again.format, again.nesting, again.names) == (checkpoint.format, checkpoint.nesting, checkpoint.names)
    assert again.ties == checkpoint.ties
    assert len(again.ties) == (tie and form != "safetensors")
