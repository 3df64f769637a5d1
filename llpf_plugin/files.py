"""Files appear whole or not at all: written beside their place, flushed to the disk, then renamed."""

import errno
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llpf_plugin.errors import LLPFError, RunError
from llpf_plugin.ranks.group import is_first

__all__ = [
    "LOCK",
    "atomic_folder",
    "atomic_write",
    "flush",
    "is_empty",
    "plain",
    "refusal",
    "remove_leftovers",
    "write_bytes",
    "write_json",
    "write_text",
]

LOCK = ".lock"
"""The file by which a process has a folder, see `llpf_plugin.runs.lock`."""

_PARTIAL = ".partial"
_LEFTOVER = f".*{_PARTIAL}*"


def atomic_write(path: Path | str, write: Callable[[Path], object], durable: bool = True) -> Path:
    """Let ``write`` fill a temporary file in the folder of ``path`` and rename it to ``path``.

    A reader sees the old file or the new one, never half of it, even after a power cut. Missing folders are made;
    a symbolic link is followed, so that the link stays one. Of several ranks only the first writes.

    Args:
        path: the file to make or to replace.
        write: gets the path of the temporary file, which has the suffix of ``path``.
        durable: wait until it is on the disk; else a power cut may leave less, and `flush` waits for many at once.

    Returns:
        ``path``.

    Raises:
        RunError: the disk is full, or the file cannot be written; the file that was there before is untouched.
    """
    if not is_first():
        return Path(path)
    target = Path(path).resolve()
    temporary = _beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if durable:
            _flush(temporary)
        temporary.replace(target)
        if durable:
            _flush(target.parent)
    except Exception as error:
        if refused := refusal(error, target):
            raise refused from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return Path(path)


def atomic_folder(path: Path | str, write: Callable[[Path], object], replaceable: Callable[[Path], bool]) -> Path:
    """`atomic_write` for a folder: ``write`` fills a temporary folder, which then takes the place of ``path``.

    Args:
        path: the folder to make or to replace; an empty folder counts as none.
        write: gets the path of the temporary folder, which exists and is empty.
        replaceable: says of each entry of a folder that is there already whether it may go.

    Returns:
        ``path``.

    Raises:
        RunError: ``path`` holds something that may not go, the disk is full, or the folder cannot be written.
    """
    if not is_first():
        return Path(path)
    target = Path(path).resolve()
    _check_replaceable(target, replaceable)
    temporary, old = _beside(target), _beside(target)
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        for file in temporary.iterdir():
            _flush(file)
        _flush(temporary)
        _swap(temporary, target, old)
        _flush(target.parent)
    except Exception as error:
        if refused := refusal(error, target):
            raise refused from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return Path(path)


def flush(files: Iterable[Path]) -> None:
    """Wait until the files, and the entries of the folders that they lie in, are on the disk.

    Raises:
        RunError: the disk is full, or the system refuses for another reason.
    """
    for place in (files := list(files)) + sorted({file.parent for file in files}):
        try:
            _flush(place)
        except OSError as error:
            raise refusal(error, place) or error from error


def write_bytes(path: Path | str, data: bytes) -> Path:
    """`atomic_write` of bytes."""
    return atomic_write(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: Path | str, text: str) -> Path:
    """`atomic_write` of text, in UTF-8."""
    return write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> Path:
    """`atomic_write` of a JSON document, indented for the reader."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """The value as JSON knows it: data classes as objects, arrays as lists, what is not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing, or only what a killed process left of its first file: empty folders, too."""
    return folder.is_dir() and all(
        entry.match(_LEFTOVER) or entry.name == LOCK or (not entry.is_symlink() and is_empty(entry))
        for entry in folder.iterdir()
    )


def remove_leftovers(folder: Path | str, stem: str = "*") -> None:
    """Remove the temporary files that a killed process left in ``folder``.

    Args:
        folder: where nobody else is writing these files.
        stem: a pattern of the names, without suffix, of the files that were being written.
    """
    for leftover in Path(folder).glob(f".{stem}{_PARTIAL}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def refusal(error: Exception, target: Path) -> RunError | None:
    """What to tell the user if the operating system refused to write; None for an error of another kind.

    Args:
        error: as it came.
        target: what was to be written.
    """
    code = None if isinstance(error, LLPFError) else _os_code(error)
    if code is None:
        return None
    if code in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"The disk is full: {target} was not written, and what was there before is untouched. "
            "Free some space, or choose a folder on another disk."
        )
    return RunError(
        f"{target} was not written: {os.strerror(code)}. What was there before is untouched. "
        "Check the folder and its permissions, or choose another one."
    )


def _beside(target: Path) -> Path:
    """A new hidden name in the same folder, hence on the same disk; the suffix stays, since some writers go by it."""
    return target.with_name(f".{target.stem}.{secrets.token_hex(4)}{_PARTIAL}{target.suffix}")


def _flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows has no handle for this
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_replaceable(target: Path, replaceable: Callable[[Path], bool]) -> None:
    """Refuse a target that is a file or holds entries that may not go."""
    if target.exists() and not target.is_dir():
        raise RunError(f"{target} is a file, and a folder of that name is to be written: name another folder.")
    kept = sorted(entry.name for entry in target.iterdir() if not replaceable(entry)) if target.exists() else []
    if kept:
        raise RunError(f"{target} holds other files ({', '.join(kept[:5])}): name another folder, or empty this one.")


def _swap(new: Path, target: Path, old: Path) -> None:
    """Put ``new`` in the place of ``target``, which goes to ``old`` and comes back if that fails."""
    if not target.exists():
        new.replace(target)
        return
    target.replace(old)
    try:
        new.replace(target)
    except OSError:
        old.replace(target)
        raise


def _os_code(error: BaseException | None) -> int | None:
    """The system's error number behind ``error``; torch hides it in the context, safetensors in the text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if told := re.search(r"\(os error (\d+)\)|\bOs \{ code: (\d+)", str(error)):
            return int(told[1] or told[2])
        error = error.__cause__ or error.__context__
    return None
