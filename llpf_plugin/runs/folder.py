"""A run's folder: knots as they come, a state to resume from, and the finished path; every file whole or not at all.

::

    run.json                what was asked: task, method, inputs and their fingerprints
    buffers.safetensors     A's and B's buffers
    knots/000012.safetensors
    state.json              the search as it stood, and which file holds its tensors
    path.json               the manifest of the finished path
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from llpf_plugin.errors import RunError
from llpf_plugin.files import is_empty, plain, remove_leftovers, write_json
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.ranks.group import shared
from llpf_plugin.records import Tick
from llpf_plugin.runs.asked import CHANGEABLE, DIGESTS, FORMAT, VERSION, Asked, differences
from llpf_plugin.runs.knots import KnotFolder
from llpf_plugin.runs.read import has_digests, read_asked, read_document, read_state
from llpf_plugin.runs.tensors import read_tensors, write_state, write_tensors
from llpf_plugin.search.progress import Callback, Progress, Searching
from llpf_plugin.version import written_by

_BEFORE = "path.before.json"
"""The manifest of a run that had ended and goes on."""

_LISTED = 5


class RunFolder(Callback):
    """A run on disk, hung into the loop as a callback: it saves every few seconds, between ticks.

    Args:
        folder: the run's folder.
        every: seconds between two saved states; saving never takes more than a fiftieth of the time.
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

    @property
    def has_ended(self) -> bool:
        """Whether it has ended once, so that the results in the folder are its own."""
        return self.finished or (self.folder / _BEFORE).is_file()

    @property
    def begun(self) -> bool:
        """Whether a state of the run has been saved, from which it can be continued."""
        return (self.folder / "state.json").is_file()

    def check_free(self) -> None:
        """Refuse a folder that is in use.

        Raises:
            RunError: it holds another run, or other files.
        """
        if self.exists:
            raise RunError(f"{self.folder} already holds a run: add --resume to continue it, or name another with -o")
        if self.folder.exists() and not is_empty(self.folder):
            raise RunError(f"{self.folder} is not an empty folder and holds no run: name another folder with -o")

    def clear(self) -> None:
        """Remove what killed processes left of their files."""
        for folder in (self.folder, self.folder / "knots"):
            remove_leftovers(folder)

    def create(
        self, asked: Asked, start: Weights, end: Weights, info: Mapping[str, Any] | None = None, again: bool = False
    ) -> None:
        """Begin a run.

        Args:
            asked: what the run depends on; a resumed run must ask the same.
            start: A's buffers.
            end: B's buffers.
            info: what else is good to know.
            again: the run that is there was killed before its first state was saved, and begins once more.

        Raises:
            RunError: the folder is in use, or cannot be written.
        """
        if not again:
            self.check_free()
        self.clear()
        head = {"format": FORMAT, "version": VERSION, "written_by": written_by()}
        document = {**head, DIGESTS: True, "asked": asked.to_json(), "info": dict(info or {})}
        # First, for by this file the folder is known as a run's.
        write_json(self.folder / "run.json", plain(document))
        self.knots.strict = True
        # Clones: a buffer may be there under several names.
        both = {
            f"{side}.{k}": t.detach().contiguous().clone()
            for side, part in (("A", start), ("B", end))
            for k, t in part.items()
        }
        write_tensors(self.folder / "buffers.safetensors", both)

    def abandon(self) -> None:
        """Remove what a run that was refused before its first state was saved has written, and the folder if empty."""
        if not self.exists or self.begun:
            return
        shutil.rmtree(self.folder / "knots", ignore_errors=True)
        for name in ("buffers.safetensors", "run.json"):
            (self.folder / name).unlink(missing_ok=True)
        if not self.folder.is_symlink() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def check_same(self, asked: Asked) -> None:
        """Refuse to resume a run that was asked for something else, or that another version wrote.

        Raises:
            RunError: names what differs, with both values, or the version.
        """
        document = read_document(self.folder)
        if document["version"] != VERSION:
            raise RunError(
                f"{self.folder} was written by {document.get('written_by', 'llpf-plugin 0.1')}, whose runs this "
                "version can report but not resume: start again in another folder (-o)"
            )
        differ = [told for name, told in self._differences(asked).items() if name not in CHANGEABLE]
        if differ:
            told = "; ".join(differ[:_LISTED]) + (f"; … ({len(differ)} in all)" if len(differ) > _LISTED else "")
            remedy = "Resume with the same settings but for budget and goal, or name another folder with -o"
            raise RunError(f"{self.folder} holds another run: {told}. {remedy}")

    def goes_on(self, asked: Asked) -> bool:
        """Whether the run is asked for another budget or goal than before."""
        return bool(self._differences(asked))

    def _differences(self, asked: Asked) -> dict[str, str]:
        """From what the run in the folder was asked."""
        return differences(read_asked(self.folder), Asked.from_json(json.loads(json.dumps(plain(asked.to_json())))))

    def ask_anew(self, asked: Asked, again: bool = False) -> None:
        """Note another budget or goal; a run that had ended has not any more, and its results stay until it has.

        Args:
            asked: as of `create`.
            again: the search begins once more.
        """
        if not self.goes_on(asked):
            return
        if self.finished:
            (self.folder / "path.json").replace(self.folder / _BEFORE)
        if again:
            (self.folder / "state.json").unlink(missing_ok=True)
        write_json(self.folder / "run.json", plain({**read_document(self.folder), "asked": asked.to_json()}))

    def load(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """The saved state, None if the run was stopped before its first.

        Raises:
            RunError: the state, its tensors, or a knot that it names is missing, or is not what was written.
        """
        self.clear()
        if not self.begun and not self.finished:
            return None
        strict = self.knots.strict = has_digests(self.folder)
        state = read_state(self.folder)
        try:
            progress = Progress.from_json(state["progress"])
            progress.check()
        except TypeError as error:
            place = self.folder / "state.json"
            raise RunError(f"{place} is not the state of a search ({error}): it was edited or damaged") from error
        known = sorted(map(int, {**progress.labels, **(progress.cut.labels if progress.cut else {})}))
        form = self._form(0)
        for knot in known:  # now, rather than in the middle of the search
            if self._form(knot) != form:
                raise RunError(f"knot {knot} in {self.folder} has other names or shapes than A: it was edited")
        moved = [] if progress.moved is None else [progress.moved.knot, progress.moved.rest]
        self.knots.keep_only({0, 1, *known, *moved})
        if self.finished:
            (self.folder / _BEFORE).unlink(missing_ok=True)
        name = state["tensors"]
        return state["progress"], read_tensors(self.folder / name, strict) if name else {}

    def _form(self, knot: int) -> dict[str, Any]:
        return {name: (t.shape, t.is_floating_point()) for name, t in self.knots.get(knot).items()}

    def save(self, search: Searching) -> None:
        """Write the search as it stands; what the state before named is removed only afterwards."""
        began = time.monotonic()
        values, tensors = search.snapshot()
        name = f"state-{len(values['record']):07d}-{search.workspace.steps}.safetensors" if tensors else None
        if name:
            write_tensors(self.folder / name, tensors)
        self.knots.flush()
        write_state(self.folder / "state.json", {"progress": values, "tensors": name})
        for old in self.folder.glob("state-*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)
        self.knots.sweep()
        now = time.monotonic()
        self._next = now + max(self.every, 50 * (now - began))

    def on_start(self, search: Searching) -> None:
        """Save once the ends are measured."""
        self.save(search)

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """Save every few seconds, and when a stop was asked for."""
        if search.stop or self._due():
            self.save(search)

    def on_measure(self, search: Searching, done: int, total: int) -> None:
        """Save every few seconds, and at the end."""
        if search.stop or done == total or self._due():
            self.save(search)

    def _due(self) -> bool:
        """Whether the time has come; other ranks are told, see `GoesAlong`."""
        return shared(time.monotonic() >= self._next)

    def on_end(self, search: Searching) -> None:
        """Write the path's manifest, after which the state is no longer needed."""
        self.save(search)
        path = search.path()
        manifest = {
            "format": "llpf-path",
            "version": VERSION,
            "knots": search.progress.chain,
            "labels": [label.to_json() for label in path.labels],
            "ties": dict(path.ties),
            "unreached": list(path.unreached),
            "equivalent": None if search.progress.moved is None else {"rest": search.progress.moved.rest},
            "outcome": path.outcome.name if path.outcome else None,
            "cost": path.cost.to_json(),
            "positions": [float(t) for t in path.positions],
            "length_ratio": path.length_ratio,
        }
        write_json(self.folder / "path.json", plain(manifest))
        (self.folder / _BEFORE).unlink(missing_ok=True)


class GoesAlong(Callback):
    """On ranks that write nothing: takes part in every save of the first one, for all gather sharded weights."""

    def on_start(self, search: Searching) -> None:
        """Once the ends are measured."""
        search.snapshot()

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """When the first rank's time has come, and when a stop was asked for."""
        if search.stop or shared(False):
            search.snapshot()

    def on_measure(self, search: Searching, done: int, total: int) -> None:
        """Likewise, and at the end."""
        if search.stop or done == total or shared(False):
            search.snapshot()

    def on_end(self, search: Searching) -> None:
        """With the manifest."""
        search.snapshot()
