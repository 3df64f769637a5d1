"""Reading a run's folder: what was asked for, and the finished path."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llpf_plugin.errors import RunError
from llpf_plugin.geometry.knots import Chain
from llpf_plugin.geometry.path import Path as LossPath
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.records import Cost, Knot, Outcome, Tick
from llpf_plugin.runs.asked import DIGESTS, FORMAT, VERSION, Asked
from llpf_plugin.runs.tensors import checked_state, read_tensors

READABLE = (1, VERSION)
"""Versions of run folders that can be read."""


def read_asked(folder: Path) -> Asked:
    """What the run in a folder was asked for.

    Raises:
        RunError: no run, an unknown version, or not readable.
    """
    document = read_document(folder)
    read = Asked.from_version_1 if document["version"] == 1 else Asked.from_json
    try:
        return _checked(read(document["asked"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder / 'run.json'} does not say what was asked: it was edited or damaged") from error


def _checked(asked: Asked) -> Asked:
    """What was asked, as far as names are text and settings are mappings.

    Raises:
        TypeError: they are not.
    """
    names = (asked.a, asked.b, asked.task, asked.method)
    settings = (asked.task_arguments, asked.method_settings, asked.search, asked.compute)
    if not all(isinstance(name, str) for name in names) or not all(isinstance(s, Mapping) for s in settings):
        raise TypeError("a name that is no text, or settings that are no mapping")
    return asked


def read_info(folder: Path) -> Mapping[str, Any]:
    """What else is known of the run in a folder."""
    info = read_document(folder).get("info")
    return info if isinstance(info, Mapping) else {}


def read_document(folder: Path) -> dict[str, Any]:
    """The whole of ``run.json``.

    Raises:
        RunError: no run, an unknown version, or not readable.
    """
    document = read_json(folder / "run.json")
    _check_version(folder / "run.json", document, FORMAT)
    return document


def has_digests(folder: Path) -> bool:
    """Whether every file of tensors of the run in a folder, and its state, must have a digest.

    Raises:
        RunError: no run, an unknown version, or not readable.
    """
    return bool(read_document(folder).get(DIGESTS))


def read_state(folder: Path) -> dict[str, Any]:
    """The search as it stood: ``progress``, and the name of the file of its ``tensors``, None without.

    Raises:
        RunError: it is missing, edited or damaged.
    """
    place = folder / "state.json"
    state = checked_state(place, read_json(place), has_digests(folder))
    name = state.get("tensors")
    if not isinstance(state.get("progress"), dict) or not (name is None or Path(str(name)).name == name):
        raise RunError(f"{place} is not the state of a search: it was edited or damaged")
    return state


def read_path(folder: Path, knots: Any) -> LossPath:
    """The finished path, its knots read from ``knots`` as they are asked for.

    Raises:
        RunError: the run has not ended, or a file is missing or damaged.
    """
    place = folder / "path.json"
    if not place.is_file():
        raise RunError(f"{folder} holds no finished path: resume the run first")
    document = read_json(place)
    _check_version(place, document, "llpf-path")
    buffers = read_tensors(folder / "buffers.safetensors", has_digests(folder))
    state = read_state(folder)
    try:
        return _path(document, buffers, state["progress"]["record"], knots)
    except RunError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        words = f"{type(error).__name__}: {error}"
        raise RunError(f"{place} does not describe a path ({words}): it was edited") from error


def _path(document: Mapping[str, Any], buffers: Weights, record: Iterable[Any], knots: Any) -> LossPath:
    """The path that a manifest describes; A and B are read."""
    chain, ties = Chain(knots, document["knots"]), document["ties"]
    labels = [Knot.from_json(label) for label in document["labels"]]
    if len(labels) != len(chain):
        raise ValueError(f"{len(chain)} knots, but {len(labels)} labels")
    b = chain[-1] if labels[-1].kind == "end" else knots.get(1)  # the path may end elsewhere
    moved = document.get("equivalent")
    if moved is not None:
        buffers = {**buffers, **{f"B.{k}": t for k, t in knots.get(moved["rest"]).items()}}
    start, end = _end("A", chain[0], buffers, ties), _end("B", b, buffers, ties)
    outcome = Outcome.__members__.get(document["outcome"] or "")
    ticks, cost = [Tick.from_json(tick) for tick in record], Cost.from_json(document["cost"])
    unreached = tuple(document.get("unreached", ()))
    return LossPath(
        chain, start, end, labels, ties, outcome, ticks, cost, unreached=unreached, equivalent=moved is not None
    )


def _end(side: str, knot: Weights, buffers: Weights, ties: Mapping[str, str]) -> Weights:
    """The complete state dict of an end: its knot, the further names of tied tensors, and its buffers."""
    own = {k.partition(".")[2]: t for k, t in buffers.items() if k.startswith(side + ".")}
    return {**knot, **{name: knot[k] for name, k in ties.items() if name not in own}, **own}


def _check_version(place: Path, document: Mapping[str, Any], kind: str) -> None:
    if document.get("format") != kind or document.get("version") not in READABLE:
        found = f"{document.get('format')} {document.get('version')}"
        raise RunError(f"{place} is of {found}; this program reads {kind} {READABLE[0]} to {READABLE[-1]}")


def read_json(place: Path) -> dict[str, Any]:
    """A JSON document of a run.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{place} is missing: {place.parent} is not a run folder, or it is incomplete") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{place} cannot be read ({error}): it was edited or damaged") from error
    if not isinstance(document, dict):
        raise RunError(f"{place} is not a run's file: it was edited or damaged")
    return document
