"""A run's folder: knots as they come, a state to resume from, and the finished path; every file whole or not at all.

::

    run.json                what was asked: task, settings, inputs and their fingerprints
    buffers.safetensors     A's and B's buffers
    knots/000012.safetensors
    state.json              the search as it stood, and which file holds its tensors
    path.json               the manifest of the finished path
"""

import json
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llpf_plugin.errors import RunError
from llpf_plugin.files import atomic_write, plain, remove_leftovers, write_json
from llpf_plugin.search.find import Search
from llpf_plugin.methods.base import Outcome
from llpf_plugin.geometry.knots import Chain
from llpf_plugin.geometry.path import Path as LossPath
from llpf_plugin.search.progress import Callback
from llpf_plugin.geometry.weights import Weights

FORMAT, VERSION = "llpf-run", 1


class KnotFolder:
    """Knots as one safetensors file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._superfluous: list[int] = []

    def put(self, knot: int, weights: Weights) -> None:
        """Write a knot."""
        tensors = {k: t.detach().cpu().contiguous() for k, t in weights.items()}
        atomic_write(self._file(knot), lambda place: save_file(tensors, place))

    def get(self, knot: int) -> Weights:
        """Read a knot."""
        return read_tensors(self._file(knot))

    def discard(self, knots: Iterable[int]) -> None:
        """Note that knots may go once no saved state names them."""
        self._superfluous.extend(knots)

    def sweep(self) -> None:
        """Remove what was discarded."""
        for knot in self._superfluous:
            self._file(knot).unlink(missing_ok=True)
        self._superfluous.clear()

    def _file(self, knot: int) -> Path:
        return self.folder / f"{knot:06d}.safetensors"


class RunFolder(Callback):
    """A run on disk, hung into the loop as a callback: it saves every few seconds, between ticks.

    Args:
        folder: the run's folder.
        every: seconds between two saved states; saving never takes more than a tenth of the time.
    """

    def __init__(self, folder: str | Path, every: float = 5.0) -> None:
        self.folder, self.every = Path(folder), every
        self.knots = KnotFolder(self.folder / "knots")
        self._next = 0.0

    @property
    def exists(self) -> bool:
        """Whether a run is in the folder."""
        return (self.folder / "run.json").is_file()

    @property
    def finished(self) -> bool:
        """Whether the run in the folder has ended."""
        return (self.folder / "path.json").is_file()

    def check_free(self) -> None:
        """Refuse a folder that is in use.

        Raises:
            RunError: it holds another run, or other files.
        """
        if self.exists:
            raise RunError(f"{self.folder} holds a run already: add --resume to go on with it, or name another with -o")
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise RunError(f"{self.folder} is not an empty folder and holds no run: name another folder with -o")

    def create(
        self, asked: Mapping[str, Any], start: Weights, end: Weights, info: Mapping[str, Any] | None = None
    ) -> None:
        """Begin a run.

        Args:
            asked: what the run depends on, as JSON values; a resumed run must ask the same.
            start: A's buffers.
            end: B's buffers.
            info: what else is good to know.

        Raises:
            RunError: the folder is in use, or cannot be written.
        """
        self.check_free()
        # Clones: a buffer may be there under several names.
        both = {
            f"{side}.{k}": t.detach().contiguous().clone()
            for side, part in (("A", start), ("B", end))
            for k, t in part.items()
        }
        atomic_write(self.folder / "buffers.safetensors", lambda place: save_file(both, place))
        document = {"format": FORMAT, "version": VERSION, "asked": dict(asked), "info": dict(info or {})}
        write_json(self.folder / "run.json", document)

    def abandon(self) -> None:
        """Remove what a run that was refused before its first state was saved has written, and the folder if empty."""
        if not self.exists or (self.folder / "state.json").exists():
            return
        shutil.rmtree(self.folder / "knots", ignore_errors=True)
        for name in ("buffers.safetensors", "run.json"):
            (self.folder / name).unlink(missing_ok=True)
        if not self.folder.is_symlink() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def asked(self) -> dict[str, Any]:
        """What the run in the folder was asked for.

        Raises:
            RunError: no run, another version, or not readable.
        """
        document = self._json("run.json")
        if document.get("format") != FORMAT or document.get("version") != VERSION:
            found = f"{document.get('format')} {document.get('version')}"
            raise RunError(f"{self.folder / 'run.json'} is of {found}, this program reads {FORMAT} {VERSION}")
        asked = document.get("asked")
        if not isinstance(asked, dict):
            raise RunError(f"{self.folder / 'run.json'} does not say what was asked: it was edited or damaged")
        return asked

    def check_same(self, asked: Mapping[str, Any]) -> None:
        """Refuse to resume a run that was asked for something else.

        Raises:
            RunError: names what differs, with both values.
        """
        before = self.asked()
        now = json.loads(json.dumps(dict(asked)))
        differ = [k for k in sorted(before | now) if before.get(k) != now.get(k)]
        if differ:
            words = "; ".join(f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in differ)
            remedy = "Resume with what it was started with, or name another folder with -o"
            raise RunError(f"{self.folder} holds another run: {words}. {remedy}")

    def load(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """The saved state, None if the run was stopped before its first."""
        remove_leftovers(self.folder)
        remove_leftovers(self.folder / "knots")
        if not (self.folder / "state.json").is_file():
            return None
        document = self._json("state.json")
        name = document["tensors"]
        return document["progress"], read_tensors(self.folder / name) if name else {}

    def save(self, search: Search) -> None:
        """Write the search as it stands; what the state before named is removed only afterwards."""
        began = time.monotonic()
        values, tensors = search.snapshot()
        name = f"state-{len(values['record']):07d}-{search.gradient.steps}.safetensors" if tensors else None
        if name:
            cpu = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
            atomic_write(self.folder / name, lambda place: save_file(cpu, place))
        write_json(self.folder / "state.json", {"progress": values, "tensors": name})
        for old in self.folder.glob("state-*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)
        self.knots.sweep()
        now = time.monotonic()
        self._next = now + max(self.every, 10 * (now - began))

    def on_start(self, search: Search) -> None:
        """Save once the ends are measured."""
        self.save(search)

    def on_tick(self, search: Search, report: Mapping[str, Any]) -> None:
        """Save every few seconds, and when a stop was asked for."""
        if search.stop or time.monotonic() >= self._next:
            self.save(search)

    def on_measure(self, search: Search, done: int, total: int) -> None:
        """Save every few seconds, and at the end."""
        if search.stop or done == total or time.monotonic() >= self._next:
            self.save(search)

    def on_end(self, search: Search) -> None:
        """Write the path's manifest, after which the state is no longer needed."""
        self.save(search)
        path = search.path()
        manifest = {
            "format": "llpf-path",
            "version": VERSION,
            "knots": search.progress.chain,
            "labels": list(path.labels),
            "ties": dict(path.ties),
            "outcome": path.outcome.name if path.outcome else None,
            "cost": dict(path.cost),
            "positions": [float(t) for t in path.positions],
            "length_ratio": path.length_ratio,
        }
        write_json(self.folder / "path.json", plain(manifest))

    def path(self) -> LossPath:
        """The finished path, its knots read from the folder as they are asked for.

        Raises:
            RunError: the run has not ended, or a file is missing or damaged.
        """
        if not self.finished:
            raise RunError(f"{self.folder} holds no finished path: resume the run first")
        document = self._json("path.json")
        if document.get("version") != VERSION:
            raise RunError(
                f"{self.folder / 'path.json'} is of version {document.get('version')}, this program reads {VERSION}"
            )
        both = read_tensors(self.folder / "buffers.safetensors")
        record = self._json("state.json")
        try:
            return self._path(document, both, record["progress"]["record"])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, RunError):
                raise
            words = f"{type(error).__name__}: {error}"
            raise RunError(f"{self.folder / 'path.json'} does not describe a path ({words}): it was edited") from error

    def _path(self, document: dict[str, Any], both: Weights, record: Any) -> LossPath:
        """The path that a manifest describes; the first and the last knot are read."""
        chain = Chain(self.knots, document["knots"])
        ends = [self._end(side, chain[knot], both, document["ties"]) for side, knot in (("A", 0), ("B", -1))]
        outcome = Outcome[document["outcome"]] if document["outcome"] else None
        labels = document["labels"]
        if not (isinstance(labels, list) and len(labels) == len(chain) and all(isinstance(x, dict) for x in labels)):
            raise ValueError(f"{len(chain)} knots, but not as many labels")
        return LossPath(chain, ends[0], ends[1], labels, document["ties"], outcome, record, document["cost"])

    @staticmethod
    def _end(side: str, knot: Weights, buffers: Weights, ties: Mapping[str, str]) -> Weights:
        """The complete state dict of an end: its knot, the further names of tied tensors, and its buffers."""
        own = {k.partition(".")[2]: t for k, t in buffers.items() if k.startswith(side + ".")}
        return {**knot, **{name: knot[k] for name, k in ties.items()}, **own}

    def _json(self, name: str) -> dict[str, Any]:
        place = self.folder / name
        try:
            document = json.loads(place.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"{place} is missing: {self.folder} is no run's folder, or it is incomplete") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{place} cannot be read ({error}): it was edited or damaged") from error
        if not isinstance(document, dict):
            raise RunError(f"{place} is not a run's file: it was edited or damaged")
        return document


def read_tensors(place: Path) -> Weights:
    """The tensors of a safetensors file.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return load_file(place)
    except FileNotFoundError as error:
        raise RunError(f"{place} is missing: the run's folder is incomplete") from error
    except (OSError, SafetensorError) as error:
        raise RunError(f"{place} cannot be read ({error}): it was damaged") from error
