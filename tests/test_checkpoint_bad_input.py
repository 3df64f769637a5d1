"""What is no checkpoint: one clear message that names the file and the remedy, and nothing in it is executed."""

import contextlib
import io
import json
import os
import pickle
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from llpf_plugin.checkpoint import read
from llpf_plugin.errors import CheckpointError


def torch_bytes(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def npz_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weight.npy", b"x")
    return buffer.getvalue()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)


class Config:
    """A user's own class in a checkpoint."""


WEIGHTS = {"w": torch.zeros(1000)}
ZIP, LEGACY = torch_bytes(WEIGHTS), torch_bytes(WEIGHTS, _use_new_zipfile_serialization=False)

BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "html": (b"<!DOCTYPE html>\n<html><body>404", r"web page \(HTML\).*download it again"),
    "text": ("accuracy 0.93, größer\n".encode()[:20], "is a text file"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer.*git lfs pull"),
    "keras": (b"\x89HDF\r\n\x1a\n\x00\x00", "HDF5"),
    "gguf": (b"GGUF\x03\x00\x00\x00", "GGUF"),
    "npz": (npz_bytes(), "ZIP archive that torch.save did not write"),
    "noise": (bytes(range(200, 256)), "no checkpoint that is known here"),
    "a list": (torch_bytes([1, 2]), r"no state dict \(it is a list\): save model.state_dict"),
    "no tensors": (torch_bytes({"epoch": 3, "lr": 0.1}), r"no state dict \(it has the keys 'epoch', 'lr'\)"),
    "only an optimizer": (
        torch_bytes(torch.optim.SGD([torch.ones(2)], momentum=0.9).state_dict()),
        "no state dict",
    ),
    "sparse": (torch_bytes({"w": torch.zeros(2), "s": torch.eye(2).to_sparse()}), "'s' is sparse.*dense"),
    "whole model": (torch_bytes(nn.Sequential(nn.Linear(2, 2))), r"whole pickled model.*save only model.state_dict"),
    "whole model of the user": (torch_bytes({"model": Net()}), "whole pickled model"),
    "a class of the user": (
        torch_bytes({**WEIGHTS, "config": Config()}),
        r"refers to .*\.Config: .*not loaded.*save only",
    ),
    "the same, legacy": (
        torch_bytes({**WEIGHTS, "config": Config()}, _use_new_zipfile_serialization=False),
        r"refers to .*\.Config",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(tmp_path: Path, name: str) -> None:
    content, message = BAD_FILES[name]
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(tmp_path / "a.pt")
    assert str(tmp_path / "a.pt") in str(caught.value)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99, "one byte less"])
@pytest.mark.parametrize("form", ["torch", "legacy", "safetensors"])
def test_truncated(tmp_path: Path, form: str, share: float | str) -> None:
    path = tmp_path / "a.safetensors"
    save_file(WEIGHTS, path)
    content = {"torch": ZIP, "legacy": LEGACY, "safetensors": path.read_bytes()}[form]
    path.write_bytes(content[: int(len(content) * share) if isinstance(share, float) else -1])
    with pytest.raises(CheckpointError, match=r"a\.safetensors is truncated or damaged: copy or download it again"):
        read(path)


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pt does not exist"):
        read(tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt/inside does not exist"):
        (tmp_path / "a.pt").write_bytes(ZIP)
        read(tmp_path / "a.pt" / "inside")
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json does not exist"):
        read(tmp_path / "model.safetensors.index.json")


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder without"):
        read(tmp_path)
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    save_file(WEIGHTS, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"several checkpoints \(a\.safetensors, b\.safetensors\)"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "is no index of shards"),
        ("[]", "is no index of shards"),
        ('{"weight_map": {}}', "lists no tensors"),
        ({"w": "gone.safetensors"}, r"gone\.safetensors does not exist"),
        ({"w": "../outside.safetensors"}, "leads out of its folder"),
        ({"w": "a.safetensors", "x": "a.safetensors"}, "a.safetensors lacks 'x'"),
        ({"w": "b.safetensors"}, "b.safetensors is not in the safetensors format"),
        ({"w": "c.safetensors"}, "c.safetensors is truncated"),
    ],
)
def test_bad_shards(tmp_path: Path, index: str | dict[str, str], message: str) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(ZIP)
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-1])
    text = index if isinstance(index, str) else json.dumps({"weight_map": index})
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path)


class Malicious:
    """Unpickling it runs a shell command."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle", "pickle of protocol 2", "inside a namespace", "eval"])
def test_code_in_a_pickle_is_not_executed(tmp_path: Path, form: str) -> None:
    marker = tmp_path / "executed"
    evil: Any = Malicious(os.system, f"touch {marker}")
    if form == "eval":
        evil = Malicious(eval, f"open({str(marker)!r}, 'w')")
    if form == "inside a namespace":
        evil = Namespace(lr=evil)
    value = {"state_dict": WEIGHTS, "epoch": evil}
    content = {
        "legacy": lambda: torch_bytes(value, _use_new_zipfile_serialization=False),
        "pickle": lambda: pickle.dumps({"w": [0.0], "x": evil}),
        "pickle of protocol 2": lambda: pickle.dumps({"w": [0.0], "x": evil}, protocol=2),
    }.get(form, lambda: torch_bytes(value))()
    (tmp_path / "a.pt").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"a\.pt .*not loaded.*Where you trust the file") as caught:
        read(tmp_path / "a.pt")
    assert not marker.exists()
    if form != "pickle":
        assert ("builtins.eval" if form == "eval" else "posix.system") in str(caught.value)

    # The file is as dangerous as it claims to be: with no guard it does run.
    torch.load(tmp_path / "a.pt", weights_only=False) if "pickle" not in form else pickle.loads(content)
    assert marker.exists()


class ForgedDtype:
    """Pickled as numpy's own int64, not as a copy of it, and then given the flags of a dtype of objects."""

    def __reduce__(self) -> tuple[Any, ...]:
        return np.dtype, ("i8", False, False), (3, "<", None, None, None, -1, -1, 63)


@pytest.mark.parametrize("value", [ForgedDtype(), np.dtype([("a", "f4")]), np.datetime64("2024")])
def test_numpy_state_beyond_plain_values(tmp_path: Path, value: Any) -> None:
    torch.save({"state_dict": WEIGHTS, "x": value}, tmp_path / "a.pt")
    if isinstance(value, ForgedDtype):
        read(tmp_path / "a.pt")
        assert not np.dtype("i8").hasobject and np.arange(3).sum() == 3
    else:
        with pytest.raises(CheckpointError, match=r"a\.pt holds data of the numpy dtype '.*', which was not loaded"):
            read(tmp_path / "a.pt")


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


def test_the_allow_list_is_not_left_open(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())  # torch promises no order
    (tmp_path / "a.pt").write_bytes(ZIP)
    read(tmp_path / "a.pt")
    assert set(torch.serialization.get_safe_globals()) == before


def test_torchscript(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:  # the members by which torch tells one, too
        archive.writestr("net/data.pkl", b"x")
        archive.writestr("net/constants.pkl", b"x")
    with pytest.raises(CheckpointError, match=r"TorchScript archive.*state_dict"):
        read(tmp_path / "a.pt")
