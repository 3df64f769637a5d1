"""Nothing in a file is executed; plain values are read and come back."""

import argparse
import collections
import datetime
import os
import pathlib
import pickle
import types
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.checkpoint_samples import WEIGHTS, ZIP, network, same, torch_bytes
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
