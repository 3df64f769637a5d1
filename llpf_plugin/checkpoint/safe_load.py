"""``torch.load`` that never executes code, with an allow-list for the plain values in ordinary checkpoints."""

import argparse
import datetime
import decimal
import fractions
import io
import pathlib
import re
import types
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from llpf_plugin.checkpoint import safe_numpy
from llpf_plugin.checkpoint.file_kind import FileKind, truncated
from llpf_plugin.checkpoint.passed_over import StandIns, runs_code
from llpf_plugin.checkpoint.unpickling import UnboundedError, check_unpickling
from llpf_plugin.documents import listed
from llpf_plugin.errors import CheckpointError

_LEGACY = 5
"""Pickles of a file in the legacy format, before the bytes of its tensors."""

_REMEDY = "where you trust the file, load it with the code that wrote it and save only model.state_dict()"


def safe_load(path: Path, kind: FileKind) -> Any:
    """What ``torch.save`` wrote, on the CPU.

    A file in the current format is mapped, so that an optimizer's state that nobody uses is never read; one that was
    zipped again, with compression, is unpacked, for what is mapped is taken as it lies there.

    Objects of unknown classes are `PassedOver`, which takes one more reading.

    Raises:
        CheckpointError: the file is truncated, or holds what is not known to be safe.
    """
    try:
        _check(path, kind)
    except Exception as error:
        raise _explained(path, kind, error) from error
    stand_ins = StandIns()
    while True:
        try:
            allowed = torch.serialization.safe_globals([*_ALLOWED, *stand_ins.allowed])
            with allowed, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "torch zip")
        except Exception as error:
            if not stand_ins.learn(error, _unknown_globals(path, kind, error)):
                raise _explained(path, kind, error) from error


def _check(path: Path, kind: FileKind) -> None:
    """Refuse a pickle that asks for more than it brings."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if kind != "torch legacy":  # read as torch reads it: two readers of one archive may find two pickles
            check_unpickling(io.BytesIO(torch._C.PyTorchFileReader(file).get_record("data.pkl")), size)
            return
        pickles = 0
        while pickles < _LEGACY and file.peek(1) and check_unpickling(file, size):
            pickles += 1


def _as_dict(_factory: object = None) -> dict[Any, Any]:
    """A defaultdict comes in as a plain dict, for torch fills no other mapping."""
    return {}


def _as_list(items: Iterable[Any] = (), _maximum: int | None = None) -> list[Any]:
    """A deque comes in as a plain list, for torch appends to nothing else."""
    return list(items)


def _allowed() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Types that only hold data and the functions that build them, the latter under the names that files give them."""
    native = type(pathlib.Path())
    paths: dict[str, type] = {"PosixPath": pathlib.PurePosixPath, "WindowsPath": pathlib.PureWindowsPath}
    paths |= {"PurePosixPath": pathlib.PurePosixPath, "PureWindowsPath": pathlib.PureWindowsPath}
    paths |= {native.__name__: native}
    named: dict[str, Callable[..., Any]] = {
        "collections.defaultdict": _as_dict,
        "collections.deque": _as_list,
        # Python 3.13 moved the paths, numpy 2 its functions.
        **{f"{module}.{name}": kind for name, kind in paths.items() for module in ("pathlib", "pathlib._local")},
        **{f"numpy.{core}.multiarray.scalar": safe_numpy.scalar for core in ("core", "_core")},
        **{f"numpy.{core}.multiarray._reconstruct": safe_numpy.reconstruct for core in ("core", "_core")},
        "numpy.ndarray": safe_numpy.Array,
        "numpy.dtype": safe_numpy.Dtype,
    }
    values = [
        *(argparse.Namespace, types.SimpleNamespace, decimal.Decimal, fractions.Fraction),
        *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
        *(bool, int, float, str, bytes, tuple, list, dict, frozenset, range, slice),
    ]
    return [*values, *((kind, name) for name, kind in named.items())]


_ALLOWED = _allowed()


def _explained(path: Path, kind: FileKind, error: Exception) -> CheckpointError:
    """What the user needs to know of an error of ``torch.load``."""
    if isinstance(error, UnboundedError):
        return CheckpointError(f"{path} was not loaded, for {error}; {_REMEDY}")
    unknown = _unknown_globals(path, kind, error)
    if named := [name for name in unknown if runs_code(name)] or unknown:
        return CheckpointError(
            f"{path} refers to {listed(named, 8, 100)}: that is not known to be safe and was not loaded; {_REMEDY}"
        )
    if kind == "torch legacy" and "Only persistent_load of storage" in str(error):  # the source of a module
        return whole_model(path)
    if isinstance(error, safe_numpy.NotPlainError):
        return CheckpointError(f"{path} holds {error}, which was not loaded; {_REMEDY}")
    if kind == "torch legacy" and "Unsupported operand" in str(error):
        return CheckpointError(f"{path} is a pickle that torch.save did not write, so it was not loaded; {_REMEDY}")
    return truncated(path)


def whole_model(path: Path, name: str = "", keys: tuple[str, ...] = ()) -> CheckpointError:
    """The error for a module that was pickled whole, with the two lines that convert the file.

    Args:
        path: the file.
        name: of the module's class.
        keys: that lead to it.
    """
    place = "".join(f"[{key!r}]" for key in keys)
    return CheckpointError(
        f"{path} holds a whole pickled model{f' ({name})' if name else ''}, not only its weights, and reading it would "
        "run its code; where you trust the file, convert it with the code that wrote it:\n"
        f"  model = torch.load({str(path)!r}, map_location='cpu', weights_only=False){place}\n"
        f"  torch.save(model.state_dict(), {path.stem + '-weights.pt'!r})"
    )


def _unknown_globals(path: Path, kind: FileKind, error: Exception) -> list[str]:
    """The classes and functions in a pickle that are not on the allow-list."""
    if kind != "torch legacy":
        with torch.serialization.safe_globals(_ALLOWED):
            try:
                return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
            except Exception:
                return []  # the pickle itself is damaged
    found = set(re.findall(r"GLOBAL ([\w.]+)", str(error)))
    return sorted(name if "." in name else f"builtins.{name}" for name in found)
