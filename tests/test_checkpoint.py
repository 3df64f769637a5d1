"""Every form that a checkpoint comes in: read to plain weights, and written back in that form."""

import argparse
import collections
import copy
import datetime
import json
import pathlib
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.checkpoint_samples import Tied, file_size_limit, network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor, nn

from llpf_plugin.checkpoint import fingerprint, read, write
from llpf_plugin.errors import CheckpointError, MismatchError, RunError


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return list(a) == list(b) and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def doubled(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: t * 2 for k, t in weights.items()}


# ---- nesting -------------------------------------------------------------------------------------------------------


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


# ---- names ---------------------------------------------------------------------------------------------------------


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
    assert checkpoint.prefixes == (prefix,)
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


# ---- ties ----------------------------------------------------------------------------------------------------------


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


def test_tied_names_that_came_apart_are_refused(tmp_path: Path) -> None:
    torch.save(Tied().state_dict(), tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    apart = {"embed.weight": torch.zeros(7, 3), "head.weight": torch.ones(7, 3)}
    with pytest.raises(MismatchError, match=r"embed\.weight and head\.weight are tied"):
        write(tmp_path / "m.pt", apart, like=checkpoint)
    assert not (tmp_path / "m.pt").exists()


# ---- dtypes and memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_dtypes_come_back(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    state = network().to(dtype).state_dict()
    path = tmp_path / f"a{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    checkpoint = read(path)
    wide = {k: t.float() if t.is_floating_point() else t for k, t in checkpoint.weights.items()}
    again = read(write(tmp_path / "m", wide, like=checkpoint))
    assert again.dtypes == {k: t.dtype for k, t in state.items()}
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


def test_weights_do_not_depend_on_the_file_any_more(tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors"):
        path = tmp_path / name
        (save_file if name.endswith("safetensors") else torch.save)({"w": torch.ones(50_000)}, path)
        weights = read(path).weights
        path.write_bytes(bytes(path.stat().st_size))
        assert weights["w"].sum() == 50_000


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


# ---- shards --------------------------------------------------------------------------------------------------------


def sharded(folder: Path, state: dict[str, Tensor]) -> Path:
    """A folder as Hugging Face writes it, with two shards."""
    folder.mkdir()
    names = sorted(state)
    files = {k: f"model-0000{1 + (i >= len(names) // 2)}-of-00002.safetensors" for i, k in enumerate(names)}
    for file in set(files.values()):
        save_file({k: t for k, t in state.items() if files[k] == file}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text("{}")
    return folder


def test_shards_in_shards_out(tmp_path: Path) -> None:
    state = network().state_dict()
    source = sharded(tmp_path / "a", state)
    checkpoint = read(source)
    assert same(dict(sorted(checkpoint.weights.items())), dict(sorted(state.items())))
    assert fingerprint(checkpoint.weights) == fingerprint(read(source / "model.safetensors.index.json").weights)

    for _ in range(2):  # the second time it replaces its own result
        out = write(tmp_path / "merged", doubled(checkpoint.weights), like=checkpoint)
    assert out.is_dir()
    assert sorted(f.name for f in out.iterdir()) == sorted(f.name for f in source.iterdir() if f.name != "config.json")
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
    with pytest.raises(CheckpointError, match=r"merged\.safetensors must be a folder"):
        write(tmp_path / "merged.safetensors", checkpoint.weights, like=checkpoint)


def test_folder_with_one_file(tmp_path: Path) -> None:
    (tmp_path / "model-v1.5").mkdir()
    save_file(network().state_dict(), tmp_path / "model-v1.5" / "model.safetensors")
    checkpoint = read(tmp_path / "model-v1.5")
    assert checkpoint.format == "safetensors"
    assert write(tmp_path / "merged", checkpoint.weights, like=checkpoint).name == "merged.safetensors"


# ---- harmless extras -----------------------------------------------------------------------------------------------

EXTRAS: dict[str, Any] = {
    "namespace": argparse.Namespace(lr=0.1, nested=argparse.Namespace(a=1)),
    "simple": types.SimpleNamespace(width=16),
    "numpy float": np.float64(0.25),
    "numpy int": np.int32(7),
    "numpy bool": np.bool_(True),
    "numpy array": np.arange(6.0).reshape(2, 3),
    "numpy strings": np.array(["cat", "dog"]),
    "numpy dtype": np.dtype("float32"),
    "path": pathlib.Path("/data/train"),
    "windows": pathlib.PureWindowsPath("C:/data"),
    "ordered": collections.OrderedDict(a=1),
    "defaultdict": collections.defaultdict(list, loss=[1.0, 0.5]),
    "counter": collections.Counter("abba"),
    "deque": collections.deque([1, 2], maxlen=3),
    "time": datetime.datetime(2024, 5, 6, 7, 8, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
    "date": datetime.date(2024, 5, 6),
    "size": torch.Size([2, 3]),
    "device": torch.device("cuda:0"),
    "dtype": torch.bfloat16,
    "type": int,
    "sets": (frozenset({1}), {2}, range(3), slice(1, 2), 1j, b"x"),
}


@pytest.mark.parametrize("name", EXTRAS)
def test_harmless_extras_load_and_come_back(tmp_path: Path, name: str) -> None:
    torch.save({"state_dict": network().state_dict(), "hyper_parameters": EXTRAS[name]}, tmp_path / "a.ckpt")
    checkpoint = read(tmp_path / "a.ckpt")
    assert same(checkpoint.weights, network().state_dict())
    again = torch.load(write(tmp_path / "m.ckpt", checkpoint.weights, like=checkpoint), weights_only=False)
    value = again["hyper_parameters"]
    expected = list(EXTRAS[name]) if name == "deque" else EXTRAS[name]
    assert np.array_equal(value, expected) if isinstance(value, np.ndarray) else value == expected


# ---- laws ----------------------------------------------------------------------------------------------------------

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


def test_fingerprint_sees_names_shapes_dtypes_and_bytes() -> None:
    weights = {"a": torch.arange(6.0), "b": torch.ones(())}
    assert fingerprint(weights) == fingerprint(dict(reversed(weights.items())))
    assert fingerprint(weights) == "58e803dadb7a713ac95c05b46ccfe0d5"
    others = [
        {"c": weights["a"], "b": weights["b"]},
        {**weights, "a": weights["a"].reshape(2, 3)},
        {**weights, "a": weights["a"].view(torch.int32)},
        {**weights, "a": weights["a"].nextafter(torch.tensor(9.0))},
        {"a": weights["a"]},
    ]
    assert len({fingerprint(other) for other in [weights, *others]}) == 6
    assert fingerprint({"a": torch.ones(4, 5).T}) == fingerprint({"a": torch.ones(5, 4)})
