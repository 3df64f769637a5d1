"""Reading a run's folder: what was asked for, and the finished path."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llpf_plugin.documents import listed, shortened, visible
from llpf_plugin.errors import RunError
from llpf_plugin.geometry.knots import Chain
from llpf_plugin.geometry.path import Path as LossPath
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.records import Cost, Knot, Outcome, Record, Tick
from llpf_plugin.runs.asked import DIGESTS, FORMAT, VERSION, Asked
from llpf_plugin.runs.document import read_json
from llpf_plugin.runs.tensors import checked_state, read_tensors
from llpf_plugin.search.options import SearchOptions

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
        said = f"{folder / 'run.json'} does not say what was asked ({error})"
        raise RunError(f"{said}: it was edited or damaged") from error


def _checked(asked: Asked) -> Asked:
    """What was asked, if what was asked of the search makes sense.

    Raises:
        TypeError: it does not.
    """
    SearchOptions.from_json(asked.search)
    return asked


def read_info(folder: Path) -> Mapping[str, Any]:
    """What else is known of the run in a folder; findings that are no list of texts are none."""
    info = read_document(folder).get("info")
    info = info if isinstance(info, Mapping) else {}
    findings = info.get("findings")
    texts = [one for one in findings if isinstance(one, str)] if isinstance(findings, list) else []
    return {**info, "findings": texts} if findings is not None else info


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
        return _path(Manifest.from_json(document), buffers, state["progress"]["record"], knots)
    except RunError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        words = f"{type(error).__name__}: {shortened(visible(str(error)), 300)}"
        raise RunError(f"{place} does not describe a path ({words}): it was edited") from error


@dataclass(frozen=True)
class Manifest(Record):
    """What ``path.json`` says; see `llpf_plugin.runs.folder.RunFolder.on_end`."""

    knots: list[int]
    labels: list[Knot]
    ties: dict[str, str]
    cost: dict[str, Any]
    outcome: str | None = None
    unreached: tuple[str, ...] = ()
    equivalent: dict[str, int] | None = None


class _Alike:
    """Knots of one path, which have one form.

    Args:
        knots: where they are kept.
        first: the identifier of the one that the others are to be like.
    """

    def __init__(self, knots: Any, first: int) -> None:
        self.knots = knots
        self.form = self._form(knots.get(first))

    def get(self, knot: int) -> Weights:
        """A knot.

        Raises:
            RunError: it is none of this path.
        """
        weights: Weights = self.knots.get(knot)
        if self._form(weights) != self.form:
            raise RunError(f"knot {knot} of the path has other names or shapes than its first one: it was edited")
        return weights

    @staticmethod
    def _form(weights: Weights) -> dict[str, Any]:
        return {name: (tensor.shape, tensor.is_floating_point()) for name, tensor in weights.items()}


def _path(manifest: Manifest, buffers: Weights, record: Iterable[Any], knots: Any) -> LossPath:
    """The path that a manifest describes; A and B are read."""
    labels, ties, moved = manifest.labels, manifest.ties, manifest.equivalent
    if len(labels) != len(manifest.knots) or len(labels) < 2:
        raise ValueError(f"{len(manifest.knots)} knots, but {len(labels)} labels")
    alike: Any = _Alike(knots, manifest.knots[0])
    chain = Chain(alike, manifest.knots)
    b = chain[-1] if labels[-1].kind == "end" else knots.get(1)  # the path may end elsewhere
    if moved is not None:
        buffers = {**buffers, **{f"B.{k}": t for k, t in knots.get(moved["rest"]).items()}}
    start, end = _end("A", chain[0], buffers, ties), _end("B", b, buffers, ties)
    outcome = Outcome.__members__.get(manifest.outcome or "")
    ticks, cost = [Tick.from_json(tick) for tick in record], Cost.from_json(manifest.cost)
    more: dict[str, Any] = {"unreached": manifest.unreached, "equivalent": moved is not None}
    return LossPath(chain, start, end, labels, ties, outcome, ticks, cost, **more)


def _end(side: str, knot: Weights, buffers: Weights, ties: Mapping[str, str]) -> Weights:
    """The complete state dict of an end: its knot, the further names of tied tensors, and its buffers."""
    own = {k.partition(".")[2]: t for k, t in buffers.items() if k.startswith(side + ".")}
    return {**knot, **{name: knot[k] for name, k in ties.items() if name not in own}, **own}


def _check_version(place: Path, document: Mapping[str, Any], kind: str) -> None:
    if document.get("format") != kind or document.get("version") not in READABLE:
        found = listed([str(document.get(name))[:40] for name in ("format", "version")]).replace(",", "")
        raise RunError(f"{place} is of {found}; this program reads {kind} {READABLE[0]} to {READABLE[-1]}")
