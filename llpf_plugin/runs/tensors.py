"""Tensors and state of a run on disk, with a digest that is stored in the file itself and checked when it is read.

A file carries its own digest, so that a process may be killed between any two files. The digest covers the file's name
too, so that a file in the place of another one is noticed. Runs of version 1, and those that do not say in ``run.json``
that they have digests, are read without.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llpf_plugin.checkpoint.record import digest_weights
from llpf_plugin.documents import check_regular
from llpf_plugin.errors import RunError
from llpf_plugin.files import atomic_write, write_json
from llpf_plugin.geometry.weights import Weights

REMEDY = "put back a copy of it if there is one, else run again in another folder (-o)"

_DIGEST = "digest"


def write_tensors(place: Path, tensors: Mapping[str, Tensor], durable: bool = True) -> None:
    """Write a safetensors file with its digest.

    Args:
        place: the file.
        tensors: what it holds.
        durable: as for `atomic_write`.

    Raises:
        RunError: the disk is full, or the file cannot be written.
    """
    own = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
    digest = _digest_of(place, own)
    # One entry, for safetensors writes several in no fixed order.
    atomic_write(place, lambda temporary: save_file(own, temporary, metadata={_DIGEST: digest}), durable)


def read_tensors(place: Path, strict: bool = False, check: bool = True) -> Weights:
    """Inverse of `write_tensors`.

    Args:
        place: the file.
        strict: a file without a digest is refused; otherwise it is believed.
        check: False where the file is known not to have changed since it was written or checked.

    Raises:
        RunError: it is missing, damaged, or not what was written.
    """
    try:
        check_regular(place, RunError)
        with safe_open(place, framework="pt", device="cpu") as file:
            stored = (file.metadata() or {}).get(_DIGEST)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError as error:
        raise RunError(f"{place} is missing: the run folder is incomplete") from error
    except (OSError, SafetensorError) as error:
        raise RunError(f"{place} cannot be read ({error}): it was damaged; {REMEDY}") from error
    if check and (stored is not None or strict):
        _check(place, stored, _digest_of(place, tensors))
    return tensors


def write_state(place: Path, state: Mapping[str, Any]) -> None:
    """Write a JSON document with its digest.

    Raises:
        RunError: the disk is full, or the file cannot be written.
    """
    write_json(place, {**state, _DIGEST: _digest(state)})


def checked_state(place: Path, document: Mapping[str, Any], strict: bool = False) -> dict[str, Any]:
    """What `write_state` was given, of what was read.

    Raises:
        RunError: it is not what was written.
    """
    state = {name: value for name, value in document.items() if name != _DIGEST}
    if _DIGEST in document or strict:
        _check(place, document.get(_DIGEST), _digest(state))
    return state


def file_digest(place: Path) -> str:
    """Of the bytes of a file, or of the names and bytes of the files of a folder.

    Raises:
        RunError: one of them is no regular file.
    """
    found = hashlib.blake2b(digest_size=16)
    for file in sorted(place.iterdir()) if place.is_dir() else [place]:
        check_regular(file, RunError)
        found.update(f"{file.name}: {file.stat().st_size}\n".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                found.update(block)
    return found.hexdigest()


def _digest_of(place: Path, tensors: Mapping[str, Tensor]) -> str:
    """Of the file's name, and of names, shapes, dtypes and bytes of the tensors.

    SHA-256, since processors have instructions for it: it takes less time than writing the file does.
    """
    found = hashlib.sha256(place.name.encode())
    digest_weights(tensors, found.update)
    return found.hexdigest()


def _digest(state: Mapping[str, Any]) -> str:
    """Of the values: how the file is laid out does not matter."""
    return hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=16).hexdigest()


def _check(place: Path, stored: object, found: object) -> None:
    if stored != found:
        raise RunError(f"{place} is not what the run wrote: it was edited or damaged; {REMEDY}")
