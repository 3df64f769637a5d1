"""Files that no program wrote: checkpoints with anything beside, between or in place of their tensors."""

import io
import json
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

_MARK = "here"


def torch_file(place: Path, weights: Mapping[str, Tensor], opcodes: bytes) -> Path:
    """A file of ``torch.save`` with ``weights`` under ``state_dict``, and what ``opcodes`` make under ``x``."""
    buffer = io.BytesIO()
    torch.save({"state_dict": dict(weights), "x": _MARK}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(place, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                assert content.count(text(_MARK)) == 1
                content = content.replace(text(_MARK), opcodes)
            target.writestr(name, content)
    return place


def rezipped(source: Path, place: Path, compression: int = zipfile.ZIP_DEFLATED, only: str = "") -> Path:
    """The members of a ZIP archive, compressed, or those of them alone whose names end with ``only``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(place, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), compression if name.endswith(only) else zipfile.ZIP_STORED)
    return place


def safetensors_file(place: Path, name: str, dtype: str, shape: Sequence[int], size: int) -> Path:
    """A file with one tensor of ``size`` zero bytes, whatever the header says of it."""
    header = json.dumps({name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, size]}}).encode()
    place.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    return place


def text(word: str) -> bytes:
    """A string, in a pickle."""
    return pickle.BINUNICODE + len(word.encode()).to_bytes(4, "little") + word.encode()


def integer(value: int) -> bytes:
    """A number of at most 120 bits, in a pickle."""
    content = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(content)]) + content


def called(function: str, *arguments: bytes) -> bytes:
    """``module name`` called with arguments, in a pickle."""
    module, name = function.split()
    imported = pickle.GLOBAL + f"{module}\n{name}\n".encode()
    return imported + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def with_attribute(made: bytes, name: str) -> bytes:
    """An object with a string in the place of one of its methods, in a pickle."""
    return made + pickle.EMPTY_DICT + pickle.MARK + text(name) + text("x") + pickle.SETITEMS + pickle.BUILD


def nested_lists(depth: int) -> bytes:
    """A list in a list in a list, in a pickle."""
    return pickle.EMPTY_LIST * depth + pickle.APPEND * (depth - 1)
