"""A strategy's state on disk: tensors and JSON in one safetensors file, written whole or not at all.

The file holds the row of its own round; the rows of the rounds before are in the folder's `llpf_flower.journal`, so
that a checkpoint has the same size in every round.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from logging import WARNING
from pathlib import Path
from typing import Any

from flwr.common.logger import log
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from llpf_flower import journal
from llpf_flower.history import Row, checked
from llpf_flower.journal import Journal
from llpf_plugin.documents import check_regular, parse_json, shortened, validated
from llpf_plugin.errors import CheckpointError
from llpf_plugin.files import atomic_write

KEY = "llpf-strategy"
SEPARATOR = "/"


def save(state: Mapping[str, Any], place: str | Path, rows: Journal | None = None) -> Path:
    """Write what `LLPFStrategy.state_dict` returned.

    Args:
        state: all of it.
        place: the file to make or to replace.
        rows: of the run, None to write them all.

    Raises:
        RunError: the file cannot be written; what was there before is untouched.
    """
    rows = rows or Journal(Path(place).parent / journal.NAME)
    rows.write(state["rows"][:-1])
    tensors = {
        f"{part}{SEPARATOR}{name}": t.contiguous() for part, own in state["models"].items() for name, t in own.items()
    }
    # The file sorts its tensors.
    values = {k: v for k, v in state.items() if k != "models"}
    values["rows"], values["earlier"] = state["rows"][-1:], {"count": rows.count, "crc": rows.crc}
    values["names"] = {part: list(own) for part, own in state["models"].items()}
    return atomic_write(place, lambda target: save_file(tensors, target, metadata={KEY: json.dumps(values)}))


def load(place: str | Path) -> dict[str, Any]:
    """Inverse of `save`.

    Raises:
        CheckpointError: the file is missing, damaged, or something else.
    """
    try:
        check_regular(Path(place), CheckpointError)
        with safe_open(place, "pt") as file:
            text = (file.metadata() or {})[KEY]
            stored = validated(_Stored, parse_json(text.encode(), CheckpointError, f"the head of {place}"))
            models = {
                part: {name: file.get_tensor(f"{part}{SEPARATOR}{name}") for name in names}
                for part, names in stored.names.items()
            }
        rows = checked([*_earlier(stored.earlier, Path(place)), *stored.rows])
    except OSError as error:
        raise CheckpointError(f"{place} cannot be read: {error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{place} cannot be read, or lacks what it names: {shortened(str(error))}") from error
    except (KeyError, TypeError) as error:
        told = "" if isinstance(error, KeyError) else f" ({error})"
        raise CheckpointError(
            f"{place} is not a checkpoint of a strategy{told}: name a file of its checkpoint folder"
        ) from error
    return {"round": stored.round, "models": models, "rows": rows}


@dataclass(frozen=True)
class _Earlier:
    """Which lines of the journal belong to a checkpoint."""

    count: int = 0
    crc: int = 0


@dataclass(frozen=True)
class _Stored:
    """The document in the head of a checkpoint; one of version 0.1 holds all rows itself."""

    round: int
    rows: list[dict[str, Any]]
    names: dict[str, list[str]]
    earlier: _Earlier = _Earlier()


def _earlier(told: _Earlier, place: Path) -> list[Row]:
    """The rows of the rounds before."""
    rows = journal.read(place.parent / journal.NAME, told.count, told.crc)
    if rows is None:
        log(WARNING, "The rows before that of %s are lost: %s is gone or another run's", place.name, journal.NAME)
    return rows or []


def newest(place: str | Path) -> Path:
    """The checkpoint itself, or the one of a folder that was written last: not the highest round of an earlier run.

    Raises:
        CheckpointError: the folder has none.
    """
    place = Path(place)
    if not place.is_dir():
        return place
    found = sorted(place.glob("round-*.safetensors"), key=lambda p: (p.stat().st_mtime_ns, p.name))
    if not found:
        raise CheckpointError(f"{place} holds no checkpoint (round-….safetensors): name another folder")
    return found[-1]
