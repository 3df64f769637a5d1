"""A finished run as its folder has it: its path, what was asked, and what in it does not fit together."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llpf_plugin.checkpoint import fingerprint
from llpf_plugin.errors import RunError, TaskError
from llpf_plugin.geometry.path import Path as LossPath
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.runs.alignment import Alignment, recorded
from llpf_plugin.runs.asked import Asked
from llpf_plugin.runs.document import read_json
from llpf_plugin.runs.knots import KnotFolder
from llpf_plugin.runs.read import has_digests, read_asked, read_info, read_path
from llpf_plugin.runs.verdict import Verdict, read_verdict
from llpf_plugin.tasks import BUILT_IN, known
from llpf_plugin.tasks.load import load_task
from llpf_plugin.tasks.task import Task


@dataclass(frozen=True)
class StoredRun:
    """A finished run, read from its folder.

    Attributes:
        folder: where it lies.
        name: what the report calls it.
        path: the path, its knots read when they are asked for.
        asked: what the run depends on.
        info: what else is known of it.
        verdict: ``quality.json`` as it was written, None if there is none.
        notes: what in the folder does not fit together.
    """

    folder: Path
    name: str
    path: LossPath
    asked: Asked
    info: Mapping[str, Any]
    verdict: Verdict | None
    notes: tuple[str, ...]

    @property
    def method(self) -> str:
        """The method that searched the path."""
        return self.asked.method

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was asked of the search and of its method."""
        return {**self.asked.search, **self.asked.method_settings}

    @property
    def task(self) -> tuple[str, dict[str, Any]]:
        """The task's name and arguments."""
        return self.asked.task, dict(self.asked.task_arguments)

    def build_task(
        self, task: Task | str | None = None, arguments: Mapping[str, Any] | None = None, trust: bool = False
    ) -> Task:
        """The run's task, built again. The folder is data: by itself it can name a built-in task only.

        Args:
            task: as the user names it; None for the one that the folder names.
            arguments: of its factory; None for the run's own, where ``task`` is the one that the folder names.
            trust: build whatever the folder names, which imports and calls its code.

        Raises:
            TaskError: the folder names a task that is not built in, or the task cannot be built.
        """
        named, own = self.task
        if isinstance(task, Task):
            return task
        if task is not None:
            return load_task(task, own if arguments is None and task == named else arguments)
        if (":" in named or named in known().keys() - BUILT_IN.keys()) and not trust:
            raise TaskError(
                f"{self.folder} names the task {named}, which is not built in, and building it would run its code: "
                f"name it yourself (--task {shlex.quote(named)}), or add --trust"
            )
        try:
            return load_task(named, own)
        except TaskError as error:
            raise TaskError(f"{self.folder}: {error}. If the task has moved, name it with --task") from error

    @property
    def pair(self) -> tuple[str, str]:
        """Fingerprints of A and B."""
        return self.asked.a, self.asked.b

    @property
    def alignment(self) -> Alignment | None:
        """What became of aligning B to A, None where the folder does not say."""
        return recorded(self.info)

    @property
    def picked(self) -> float | None:
        """Position of the merged model, None where the folder does not say."""
        merged = self.verdict.merged if self.verdict else None
        return merged.t if merged and 0 <= merged.t <= 1 else None


def open_run(folder: str | Path, name: str | None = None) -> StoredRun:
    """Read a finished run from its folder.

    Args:
        folder: what ``llpf merge -o`` wrote.
        name: what to call it (default: the folder's name).

    Raises:
        RunError: no run, not finished, of another version, a file missing, damaged or edited beyond reading.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder: name the folder of a run, as llpf merge -o wrote it")
    asked, info = read_asked(folder), read_info(folder)
    path = read_path(folder, KnotFolder(folder / "knots", has_digests(folder)))
    verdict, note = _verdict(folder)
    notes = [
        *map(str, info.get("findings", ())),
        *note,
        *_wrong_ends(path, asked, recorded(info)),
        *_wrong_positions(folder, path),
    ]
    return StoredRun(folder, name or folder.resolve().name, path, asked, info, verdict, tuple(notes))


def name_runs(folders: Sequence[Path]) -> list[str]:
    """The shortest endings of the folders' paths that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max((len(p) for p in parts), default=1) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    raise RunError("the same run is named twice: name every run once")


def check_comparable(runs: Sequence[StoredRun]) -> None:
    """Refuse to compare losses that are not of one objective on the same data.

    Raises:
        RunError: the runs are of different tasks, or of one task with different arguments.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.task != first.task:
            one, other = (f"{r.name} is of {_task_words(r)}" for r in (first, run))
            raise RunError(
                f"runs of different tasks cannot be compared, for their losses mean different things: {one}, {other}. "
                "Report them one at a time"
            )


def _task_words(run: StoredRun) -> str:
    name, arguments = run.task
    return " ".join([name, *(f"{k}={v}" for k, v in arguments.items())])


def _verdict(folder: Path) -> tuple[Verdict | None, list[str]]:
    if not (folder / "quality.json").is_file():
        return None, ["quality.json is missing: the verdict that the search came to is not known"]
    try:
        return read_verdict(folder), []
    except RunError as error:
        return None, [str(error)]


def _wrong_ends(path: LossPath, asked: Asked, alignment: Alignment | None) -> list[str]:
    """Notes on ends that are not the checkpoints whose fingerprints the run has.

    The origin has none, nor has a B that was aligned by a version that kept no record of it.
    """
    found = []
    b: str | None = asked.b
    if asked.align != "never":
        b = None if alignment is None else alignment.end if alignment.kept else asked.b
    for side, end, want in (("a", path.start, asked.a), ("b", path.end, b)):
        if want is None or want == "origin" or (side == "b" and path.equivalent):
            continue
        if want not in _fingerprints(end, path.ties):
            found.append(
                f"the path's end {side.upper()} is not the checkpoint that run.json has the fingerprint of: "
                "a file of this folder was edited or exchanged"
            )
    return found


def _fingerprints(end: Weights, ties: Mapping[str, str]) -> set[str]:
    """Fingerprints of an end with and without the names that files may leave out."""
    untied = {k: t for k, t in end.items() if k not in ties}
    whole = (end, untied)
    return {fingerprint(w) for w in (*whole, *({k: t for k, t in w.items() if "num_batches" not in k} for w in whole))}


def _wrong_positions(folder: Path, path: LossPath) -> list[str]:
    """A note if the knots do not lie where ``path.json`` says."""
    stored = read_json(folder / "path.json").get("positions")
    try:
        same = stored is None or np.allclose(np.array(stored, dtype=float), path.positions, atol=1e-6)
    except (TypeError, ValueError):
        same = False
    return [] if same else ["path.json has other positions than its knots: path.json or a knot was edited"]
