"""One pair of a merge: read, check, align; and, once its path is found: pick, write, and say what advances."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from llpf_plugin import checkpoint, preflight
from llpf_plugin.alignment.matching import Matching
from llpf_plugin.errors import InterruptedRun, LLPFError, RunError
from llpf_plugin.geometry.knots import Knots
from llpf_plugin.geometry.weights import Weights, clone
from llpf_plugin.merging.agreement import check_asked
from llpf_plugin.merging.card import write_card
from llpf_plugin.merging.reorder import Align, Proposal, line_between, propose, resolved
from llpf_plugin.methods.base import Method
from llpf_plugin.quality.beside import beside_ends
from llpf_plugin.quality.verdict import Picked, Quality
from llpf_plugin.ranks.group import from_first, is_first, shared
from llpf_plugin.records import Outcome
from llpf_plugin.runs.alignment import KEY, Alignment
from llpf_plugin.runs.asked import Asked
from llpf_plugin.runs.folder import GoesAlong, RunFolder
from llpf_plugin.runs.guard import check_unfinished
from llpf_plugin.runs.knots import KnotFolder
from llpf_plugin.runs.read import read_asked, read_path
from llpf_plugin.runs.tensors import file_digest
from llpf_plugin.runs.verdict import MergedModel, write_verdict, written_model
from llpf_plugin.search.find import Search, Snapshot
from llpf_plugin.search.options import SearchOptions
from llpf_plugin.search.progress import Callback
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute


@dataclass(frozen=True)
class Source:
    """A model of a merge.

    Attributes:
        name: how reports call it.
        weights: by plain name.
        like: the checkpoint that it was read from, None for a state dict.
    """

    name: str
    weights: Mapping[str, Tensor]
    like: checkpoint.Checkpoint | None = None

    @classmethod
    def of(
        cls,
        model: "Mapping[str, Tensor] | str | Path | Source",
        number: int = 1,
        network: nn.Module | None = None,
        state: str | None = None,
    ) -> "Source":
        """From a state dict or a checkpoint file.

        Args:
            model: either of them; a source stays one.
            number: in the name of a state dict.
            network: that a file is for, whose names its weights then have.
            state: the key of the weights, where a file holds several sets.

        Raises:
            CheckpointError: the file cannot be read.
        """
        if isinstance(model, cls):
            return model if network is None else model.fitted(network)
        if isinstance(model, Mapping):
            return cls(f"model {number}", model)
        found = checkpoint.read(model, state)  # type: ignore[arg-type]
        found = found if network is None else preflight.fitted(found, network)
        return cls(str(model), found.weights, found)

    def fitted(self, wanted: nn.Module | Iterable[str]) -> "Source":
        """The same model under the names of a network, or of a state dict."""
        if self.like is None:
            return self
        fit = preflight.fitted if isinstance(wanted, nn.Module) else checkpoint.fitted
        like = fit(self.like, wanted)  # type: ignore[arg-type]
        return replace(self, weights=like.weights, like=like)


@dataclass(frozen=True)
class Request:
    """What is asked of every pair of a merge.

    Attributes:
        task: model and data.
        method: how paths are found.
        options: what is asked of every search.
        compute: device and precision.
        pick: the point of each path that becomes the merged model.
        align: whether B is aligned first.
        named: how task and method were named, as a run's folder keeps it: ``task``, ``task_arguments``, ``method``.
        info: what is good to know of a run, without being part of what it was asked for.
    """

    task: Task
    method: Method
    options: SearchOptions
    compute: Compute
    pick: str | float = "best"
    align: Align = "auto"
    named: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.align not in get_args(Align):
            raise LLPFError(f"align = {self.align!r}: it must be one of {', '.join(get_args(Align))}")

    def asked(self, a: Source, b: Source | None, **more: Any) -> Asked:
        """What a run of this pair, or of A towards the origin, depends on."""
        named = {"task": self.task.name, "task_arguments": {}, "method": self.method.name, **self.named}
        return Asked(
            a=checkpoint.fingerprint(a.weights), b="origin" if b is None else checkpoint.fingerprint(b.weights),
            method_settings=self.method.settings(), search=self.options.to_json(),
            align=resolved(self.align, self.method), compute=self.compute.asked(), **named, **more,
        )  # fmt: skip


@dataclass
class Pair:
    """A pair that has been checked.

    Attributes:
        name: its number of the tree, ``1-2`` for two models.
        ends: the two sources.
        request: what is asked.
        search: ready to run.
        asked: what its run depends on.
        run: its folder, None in memory.
        matching: the re-ordered B that the path leads to, None where B stays as it is.
        alignment: what became of aligning B, None where that was not asked for.
        done: its run had ended before, so that it is only judged again.
        again: its run had been searched before, by a method that trains for its whole budget, and has another one now.
    """

    name: str
    ends: Sequence[Source]
    request: Request
    search: Search
    asked: Asked
    run: RunFolder | None = None
    matching: Matching | None = None
    alignment: Alignment | None = None
    done: bool = False
    again: bool = False
    _line: Sequence[float] = ()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write what a run's folder holds from the start; leave nothing of one refused before its first state."""
        try:
            if self.run is not None and not self.run.begun:
                self._create(self.run)
            elif self.run is not None:
                self.run.ask_anew(self.asked, self.again)
            yield
        except InterruptedRun:
            raise
        except LLPFError:
            if self.run is not None:
                self.run.abandon()
            raise

    def _create(self, run: RunFolder) -> None:
        moving = set(self.search.names)
        start, end = ({k: t for k, t in w.items() if k not in moving} for w in (self.search.start, self.search.end))
        found = {"findings": [str(one) for one in self.search.findings]} if self.search.findings else {}
        info = {**self._names(), **self.request.info, **found, **self._aligned()}
        run.create(self.asked, start, end, info, again=run.exists)

    def _aligned(self) -> dict[str, Any]:
        """What became of aligning B, for the files of the run."""
        return {} if self.alignment is None else {KEY: self.alignment.to_json()}

    def _names(self) -> dict[str, str]:
        """What the run's folder calls its ends."""
        a, *b = (end.name for end in self.ends)
        return {"a": a, "b": b[0] if b else "origin"}

    def line(self) -> Sequence[float]:
        """Training losses of the straight line, as `losses_on_line` has them, on the sample that was asked for."""
        search = self.search
        self._line = self._line or line_between(search.workspace, search.start, search.end, self.request.options.sample)
        return self._line

    def _align(self, proposal: Proposal) -> None:
        """Decide whether the path leads to the re-ordered B."""
        search, sample = self.search, self.request.options.sample
        self.alignment, self._line = proposal.decide(search.workspace, search.start, search.end, sample)
        if self.alignment.kept and proposal.matching is not None:
            self.matching = proposal.matching
            search.lead_to(self.matching.weights)

    def close(self, quality: Quality, keep: bool = False) -> tuple[Picked, Path | None]:
        """Pick the merged model from the path, and write it with the verdict.

        Args:
            quality: of the path.
            keep: leave the file of a pair that was done before as it is, since other pairs may have continued from it:
                picked again it may have other statistics, where the task's data come in another order every time.
        """
        if self.run is None:
            return quality.pick(self.request.pick), None
        if self.done:
            quality.path.cost = read_path(self.run.folder, self.run.knots).cost
        picked = quality.pick(self.request.pick)
        merged = written_model(self.run.folder, picked.t) if keep else None
        if merged is None:
            merged = _write(self.run.folder / "merged", picked.weights, self.ends[0].like)
            notes = () if self.alignment is None else (self.alignment.sentence,)
            if (like := self.ends[0].like) is not None and like.companions and len(self.ends) == 2:
                names = [end.name for end in self.ends]
                write_card(merged, names, self.request.method.name, quality, picked, notes)
            beside, digest = beside_ends(quality, picked), file_digest(merged)
            model = MergedModel(merged.name, picked.t, picked.scores, beside, digest, notes)
            write_verdict(self.run.folder, {**quality.summary(), **self._aligned()}, model, quality.rows)
        return picked, merged


def open_pair(
    name: str, ends: Sequence[Source], request: Request, folder: Path | None = None, resume: bool = False,
    callbacks: Sequence[Callback] = (), check_folder: bool = True,
) -> Pair:  # fmt: skip
    """Check a pair and make its search; nothing is written yet.

    Args:
        name: of the pair.
        ends: the two.
        request: what is asked.
        folder: of its run, None to stay in memory.
        resume: continue the run in the folder, if there is one.
        callbacks: of the search.
        check_folder: False where nothing will be run, so that the folder may be in use.

    Raises:
        LLPFError: the models do not fit, or the folder is in use or holds another run.
    """
    a, b = ends
    full = preflight.check_pair(a.weights, b.weights, request.task.model, (a.name, b.name))
    start, end = (own if one.like is not None else clone(own) for one, own in zip(ends, full, strict=True))
    asked = request.asked(a, b)
    check_asked(asked)
    run, saved = opened(folder, asked, resume, check_folder)
    done = run is not None and saved is not None and run.finished and not run.goes_on(asked)
    begun = run if resume else None
    proposal = from_first(lambda: propose(start, end, request.task, request.method, request.align, begun))
    search = Search(
        start, end, request.task, request.method, request.options, request.compute, knots_of(run, folder),
        (*callbacks, *saving(run, done)), saved,
    )  # fmt: skip
    pair = Pair(name, ends, request, search, asked, run, done=done, again=run is not None and saved is None)
    if proposal is not None:
        pair._align(proposal)
    if request.compute.shard:
        pair.line()  # by all ranks
    return pair


def saving(run: RunFolder | None, done: bool) -> Sequence[Callback]:
    """What saves a search that is not done: its folder; on ranks that do not write, what goes along with that."""
    if not shared(run is not None and not done):
        return ()
    return (GoesAlong() if run is None else run,)


def opened(
    folder: Path | None, asked: Asked, resume: bool, check_folder: bool = True
) -> tuple[RunFolder | None, Snapshot | None]:
    """A run's folder, and the state to resume from; of several ranks the first has the folder, and all get the state.

    Raises:
        RunError: it is in use, or holds another run.
    """
    run, saved = _opened(folder, asked, resume, check_folder) if is_first() else (None, None)
    return run, shared(saved)


def _opened(
    folder: Path | None, asked: Asked, resume: bool, check_folder: bool
) -> tuple[RunFolder | None, Snapshot | None]:
    if folder is None:
        return None, None
    run = RunFolder(folder)
    if resume and run.exists:
        run.check_same(asked)
        check_unfinished(run.folder, [run])
        saved = run.load()
        return run, _to_go_on_from(run, asked, saved)
    if check_folder:
        run.check_free()
    return run, None


def knots_of(run: RunFolder | None, folder: Path | None) -> Knots | None:
    """Where a search with a folder keeps its knots; all ranks read them there."""
    if folder is None:
        return None
    return KnotFolder(folder / "knots") if run is None else run.knots


def _to_go_on_from(run: RunFolder, asked: Asked, saved: Snapshot | None) -> Snapshot | None:
    """The saved state, None where a method that trains for its whole budget has another one now.

    Raises:
        RunError: the budget was spent before the run goes on.
    """
    budget = asked.search.get("budget")
    if saved is None or not run.goes_on(asked) or budget == read_asked(run.folder).search.get("budget"):
        return saved
    if saved[0]["outcome"] == Outcome.TRAINED.name:
        return None
    if budget is not None and budget < saved[0]["steps"]:
        raise RunError(
            f"{run.folder} has taken {saved[0]['steps']} gradient steps, and is to go on with a budget of {budget}: "
            "give more"
        )
    return saved


def _write(place: Path, weights: Weights, like: checkpoint.Checkpoint | None) -> Path:
    """In the form of A's file; a state dict's as safetensors."""
    return checkpoint.write(place, weights, like or checkpoint.plain_form(weights))
