"""Nothing in a file is executed; plain values are read and come back."""

import argparse
import collections
import datetime
import functools
import importlib
import io
import os
import pathlib
import pickle
import sys
import types
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.checkpoint_samples import WEIGHTS, ZIP, network, same, torch_bytes
from helpers.forged import called, text, torch_file
from torch import nn

from llpf_plugin.checkpoint import read, write
from llpf_plugin.errors import CheckpointError

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


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)


class Config:
    """A user's own class in a checkpoint."""


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "whole model": (
        torch_bytes(nn.Sequential(nn.Linear(2, 2))),
        r"whole pickled model \(torch\.nn\..*\.Sequential\).*\n  model = torch\.load\('.*a\.pt', .*False\)\n"
        r"  torch\.save\(model\.state_dict\(\), 'a-weights\.pt'\)",
    ),
    "whole model of the user": (torch_bytes({"model": Net()}), r"whole pickled model \(.*Net\)[^']*'.*\)\['model'\]\n"),
    "whole model, legacy": (torch_bytes(Net(), _use_new_zipfile_serialization=False), "whole pickled model"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(tmp_path: Path, name: str) -> None:
    content, message = BAD_FILES[name]
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(tmp_path / "a.pt")
    assert str(tmp_path / "a.pt") in str(caught.value)


class Settings(dict):  # type: ignore[type-arg]
    """A user's own kind of mapping."""


class Attributes(Settings):
    """One with attributes of its own."""

    def __init__(self, **entries: Any) -> None:
        super().__init__(entries)
        self.owner = Config()


class Callbacks(list):  # type: ignore[type-arg]
    """A user's own kind of list."""


UNKNOWN: dict[str, Any] = {
    "object": (Config(), "hyper_parameters (of unknown classes: "),
    "entries": (
        {"lr": 0.1, "loss": Config(), "nested": {"depth": 2, "net": [Config]}},
        "hyper_parameters.loss and 1 more",
    ),
    "mapping": (Settings(lr=0.1, loss=Config()), "hyper_parameters.loss (of unknown classes: "),
    "attributes": (Attributes(lr=0.1), ""),
    "list": (Callbacks([1, 2]), ""),
    "called": (functools.partial(max, 1), "hyper_parameters (of unknown classes: functools.partial)"),
    "array": (np.array([Config()], dtype=object), "hyper_parameters (of unknown classes: "),
    "namespace": (argparse.Namespace(loss=Config()), "hyper_parameters (of unknown classes: "),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", UNKNOWN)
def test_objects_of_unknown_classes_are_passed_over(tmp_path: Path, name: str, legacy: bool) -> None:
    value, left_out = UNKNOWN[name]
    whole = {"state_dict": network().state_dict(), "hyper_parameters": value, "epoch": 3}
    (tmp_path / "a.ckpt").write_bytes(torch_bytes(whole, _use_new_zipfile_serialization=not legacy))
    checkpoint = read(tmp_path / "a.ckpt")
    assert same(checkpoint.weights, network().state_dict())
    assert any(left_out in words for words in checkpoint.left_out) or not left_out
    again = torch.load(write(tmp_path / "m.ckpt", checkpoint.weights, like=checkpoint))  # by torch's own list alone
    assert same(again["state_dict"], network().state_dict()) and again["epoch"] == 3
    kept = {
        "entries": {"lr": 0.1, "nested": {"depth": 2}},
        "mapping": {"lr": 0.1},
        "attributes": {"lr": 0.1},
        "list": [1, 2],
    }.get(name)
    assert again.get("hyper_parameters") == kept


def test_what_is_passed_over_is_neither_imported_nor_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "booby.py").write_text("class Trap:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    trap = importlib.import_module("booby").Trap()
    content = torch_bytes({"state_dict": network().state_dict(), "hyper_parameters": trap})
    (tmp_path / "booby.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.delitem(sys.modules, "booby")
    (tmp_path / "a.ckpt").write_bytes(content)
    assert same(read(tmp_path / "a.ckpt").weights, network().state_dict())
    assert "booby" not in sys.modules


@pytest.mark.parametrize("name", ["mine Set\0tings", "mine\x1b[31m Settings"])
def test_a_class_whose_name_no_class_can_have_is_refused(tmp_path: Path, name: str) -> None:
    place = torch_file(tmp_path / "a.pt", WEIGHTS, called(name))
    with pytest.raises(CheckpointError, match=r"not known to be safe") as refused:
        read(place)
    assert str(refused.value).isprintable()


def test_so_many_classes_are_refused(tmp_path: Path) -> None:
    kinds = b"".join(pickle.GLOBAL + f"m\nC{i}\n".encode() for i in range(300))
    place = torch_file(tmp_path / "a.pt", WEIGHTS, pickle.MARK + kinds + pickle.TUPLE)
    with pytest.raises(CheckpointError, match=r"refers to m\.C0, "):
        read(place)


def test_tensors_that_were_saved_on_another_device(tmp_path: Path) -> None:
    buffer = io.BytesIO(torch_bytes({"state_dict": network().state_dict()}))
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(tmp_path / "a.pt", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content.replace(text("cpu"), text("mps:0")) if name.endswith("data.pkl") else content)
    assert b"mps:0" in (tmp_path / "a.pt").read_bytes()
    assert same(read(tmp_path / "a.pt").weights, network().state_dict())


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

    with pytest.raises(CheckpointError, match=r"a\.pt .*not loaded.*where you trust the file") as caught:
        read(tmp_path / "a.pt")
    assert not marker.exists()
    if form != "pickle":
        assert ("builtins.eval" if form == "eval" else "posix.system") in str(caught.value)

    # The file is as dangerous as it claims to be: with no guard it does run.
    torch.load(tmp_path / "a.pt", weights_only=False) if "pickle" not in form else pickle.loads(content)
    assert marker.exists()


def test_the_allow_list_is_not_left_open(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())  # torch promises no order
    (tmp_path / "a.pt").write_bytes(ZIP)
    read(tmp_path / "a.pt")
    assert set(torch.serialization.get_safe_globals()) == before
