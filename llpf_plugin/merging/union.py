"""Two classifiers with different classes become one that knows the classes of both.

Both heads are put into the form of one, which has a row for every class of the task. What the bodies become is tried in
several ways, each within the same gradient steps, and the best on validation data is kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llpf_plugin import checkpoint, preflight
from llpf_plugin.checkpoint import Checkpoint
from llpf_plugin.errors import LLPFError, MismatchError, OrderError, TaskError
from llpf_plugin.evaluation.answers import Score
from llpf_plugin.evaluation.by_class import scores_by_class
from llpf_plugin.evaluation.point import reestimate
from llpf_plugin.files import plain, write_json, write_text
from llpf_plugin.geometry.weights import Weights, assign, clone, state
from llpf_plugin.merging.candidates import WAYS, Ends
from llpf_plugin.merging.card import write_union_card
from llpf_plugin.merging.head import find_head, rows_of
from llpf_plugin.merging.labels import check_classes, labels_of, places_of, with_labels
from llpf_plugin.merging.pair import Request, Source
from llpf_plugin.merging.reorder import Align, resolved
from llpf_plugin.methods.base import Method
from llpf_plugin.methods.registry import make_method
from llpf_plugin.quality.beside import rank
from llpf_plugin.quality.verdict import check_pick
from llpf_plugin.runs.folder import RunFolder
from llpf_plugin.runs.lock import held
from llpf_plugin.search.options import SearchOptions
from llpf_plugin.tasks.load import load_task
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Workspace

STEPS = 1000
"""Gradient steps of each way where none are asked for."""

FILE, LABELS = "union.json", "labels.txt"
"""What was tried, and the class of each output, a line each."""

Scores = Mapping[str, Mapping[str, Score | None]]
"""By split, then over the examples of A's classes, of B's, and all of them: ``A``, ``B``, ``all``."""


@dataclass(frozen=True)
class Candidate:
    """A network that was tried, or one of the two that there were.

    Attributes:
        name: the way that led to it.
        steps: gradient steps that it took.
        scores: on validation and test data; empty where the way failed.
        t: the place of the path's point that was finetuned, None without a path.
        failed: why the way led nowhere.
    """

    name: str
    steps: int = 0
    scores: Scores = field(default_factory=dict)
    t: float | None = None
    failed: str = ""


@dataclass(frozen=True)
class United:
    """What joining two classifiers came to.

    Attributes:
        weights: the network that is best on validation data, a state dict on the CPU.
        classes: the class of each of its outputs.
        parents: A and B as they are; the classes that they do not know are not among their answers.
        candidates: all that was tried.
        chosen: the name of the best.
        notes: what else there is to say, in sentences.
        file: where it lies, None in memory.
    """

    weights: Weights
    classes: Sequence[str]
    parents: Sequence[Candidate]
    candidates: Sequence[Candidate]
    chosen: str
    notes: Sequence[str] = ()
    file: Path | None = None


def unite(
    models: Sequence[Weights | str | Path | Source], task: Task | str, method: Method | str = "llpf", *,
    labels: Sequence[Sequence[str]] = (), pick: str | float = "best", align: Align = "auto", out: Path | None = None,
    compute: Compute | None = None, info: Mapping[str, Any] | None = None,
    told: Callable[[Candidate], None] | None = None, **search: Any,
) -> United:  # fmt: skip
    """Make one classifier of two that know different classes.

    Tried are the mean of both bodies, as it is and finetuned; the best point of a path between both, finetuned; and A
    alone and B alone, finetuned. Each takes the same gradient steps, ``budget``, and sees the same batches.

    Args:
        models: two state dicts, checkpoint files, or sources; their heads may have different numbers of rows.
        task: the network with a row for every class of both, and data of all of these; ``task.classes`` names them.
        method: by which the path is searched, with masked losses (`llpf_plugin.merging.candidates.masked_task`).
        labels: of each model's outputs, in their order; those of a folder's ``config.json`` where there are none.
        pick: the point of the path.
        align: ``never`` leaves B's units as they are; ``always`` is an error where the network cannot be traced.
        out: a folder for the network and what was tried; in memory without one.
        compute: device and precision.
        info: what is good to know, for the folder.
        told: called with every network once it is judged.
        **search: the fields of `SearchOptions`; of finetuning too, as far as it has them.

    Raises:
        LLPFError: of any kind: labels, heads and data do not meet, the models do not fit, or the folder is in use.
    """
    check_pick(pick)
    request = Request(
        load_task(task), make_method(method), SearchOptions(**search), compute or Compute(), pick, align, {}, info or {}
    )  # fmt: skip
    told = told or (lambda candidate: None)
    sources = [Source.of(model, number) for number, model in enumerate(models, start=1)]
    with held(out):
        if out is not None:
            RunFolder(out).check_free()
            RunFolder(out).clear()
        ends, like = _ends(sources, labels, request)
        aligned, notes = _aligned(ends, resolved(align, request.method))
        judge = _Judge(ends)  # from here on the model is on its device, and stays there
        parents = [judge.parent(side) for side in "AB"]
        for parent in parents:
            told(parent)
        united = United({}, request.task.classes, parents, [], "", notes)
        for candidate, weights in judge.tried(aligned):
            told(candidate)
            united = _better(united, candidate, weights)
        return united if out is None else _written(united, out, [source.name for source in sources], like, request)


def _ends(
    sources: Sequence[Source], labels: Sequence[Sequence[str]], request: Request
) -> tuple[Ends, Checkpoint | None]:
    """Both models in the form of the task's network, checked; and the form of A's file, if it has one.

    Raises:
        LLPFError: labels, heads and data do not meet, or the models do not fit.
    """
    task = request.task
    if len(sources) != 2 or len(labels) not in (0, 2):
        raise MismatchError(
            f"two models are joined, with labels for each: got {len(sources)}, and {len(labels)} labels"
        )
    known = [labels_of(source.name, source.like, own) for source, own in zip(sources, labels or [(), ()], strict=True)]
    check_classes(task, known, [source.name for source in sources])
    if task.validation is None:
        raise TaskError(f"the task {task.name!r} has no validation data, by which the best network is chosen")
    head = find_head(task.model, task.example_inputs(), len(task.classes))
    fitted = [s.fitted(head.narrowed(task.model, len(own))) for s, own in zip(sources, known, strict=True)]
    places = [
        places_of(own, rows_of(head, s.weights, s.name), task, s.name) for s, own in zip(fitted, known, strict=True)
    ]
    extended = [head.extended(s.weights, own) for s, own in zip(fitted, places, strict=True)]
    a, b = preflight.check_pair(extended[0], extended[1], task.model, (sources[0].name, sources[1].name))
    options, both = request.options, (places[0], places[1])
    steps = options.budget or STEPS
    ends = Ends(a, b, head, both, task, request.method, options, steps, request.pick, request.compute)
    return ends, fitted[0].like


def _aligned(ends: Ends, wish: Align) -> tuple[Ends, list[str]]:
    """B in A's order, unless that is not wanted or nothing can be derived; and a sentence about it."""
    if wish == "never":
        return ends, []
    try:
        return ends.aligned(), ["B's units were brought into A's order"]
    except OrderError as error:
        if wish == "always":
            raise
        return ends, [f"all units stay as they are: no symmetry can be derived: {error}"]


class _Judge:
    """Scores networks on the data of a task: over the classes of A, those of B, and all."""

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
        self.workspace = Workspace(ends.task, ends.compute, ends.options.seed)
        a, b = ends.places
        self.groups = {"A": a, "B": b, "all": range(ends.head.classes)}

    def parent(self, side: str) -> Candidate:
        """A or B as it is, running statistics included; what it does not know is not among its answers."""
        own, known = (self.ends.a, self.ends.places[0]) if side == "A" else (self.ends.b, self.ends.places[1])
        assign(self.workspace.model, own)
        with self.ends.head.masked(self.workspace.model, self.ends.head.known(known)):
            return Candidate(side, scores=self._scores())

    def tried(self, ends: Ends) -> Iterator[tuple[Candidate, Weights]]:
        """Every way from the ends, and the network that it led to, its running statistics re-estimated."""
        for name, way in WAYS.items():
            try:
                found = way(ends)
            except LLPFError as error:
                yield Candidate(name, failed=str(error)), {}
                continue
            assign(self.workspace.model, found.weights)
            reestimate(self.workspace)
            yield Candidate(name, found.steps, self._scores(), found.t), clone(state(self.workspace.model), "cpu")

    def _scores(self) -> Scores:
        splits = {"validation": self.workspace.task.validation, "test": self.workspace.task.test}
        return {name: scores_by_class(self.workspace, data, self.groups) for name, data in splits.items() if data}


def _better(united: United, candidate: Candidate, weights: Weights) -> United:
    """With one more candidate, and its weights if it is the best so far on validation data."""
    ranks = {one.name: rank(one.scores["validation"]["all"]) for one in (*united.candidates, candidate) if one.scores}
    united = replace(united, candidates=[*united.candidates, candidate])
    if candidate.failed or (united.chosen and not ranks[candidate.name] < ranks[united.chosen]):
        return united
    return replace(united, weights=weights, chosen=candidate.name)


def _written(
    united: United, out: Path, names: Sequence[str], like: Checkpoint | None, request: Request
) -> United:  # fmt: skip
    """Write the network in A's form, what its outputs mean, and what was tried."""
    like = like or checkpoint.plain_form(united.weights)
    with with_labels(like, united.classes) as form:
        file = checkpoint.write(out / "merged", united.weights, form)
    united = replace(united, file=file)
    if like.companions:
        write_union_card(file, names, united.chosen, request.task.name, united.classes)
    write_text(out / LABELS, "".join(f"{label}\n" for label in united.classes))
    told = {
        **request.info, "models": names, "task": request.task.name,
        "method": request.method.name, "steps": request.options.budget or STEPS,
        "search": request.options.to_json(), "classes": united.classes,
        "chosen": united.chosen, "parents": united.parents, "candidates": united.candidates, "notes": united.notes,
    }  # fmt: skip
    write_json(out / FILE, plain(told))
    return united
