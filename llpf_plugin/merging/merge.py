"""`merge`: two models along a low-loss path, more of them pair by pair as a balanced tree."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from llpf_plugin import checkpoint, preflight
from llpf_plugin.errors import InterruptedRun, LLPFError, MismatchError, RankError
from llpf_plugin.evaluation.answers import Score
from llpf_plugin.evaluation.point import evaluate
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.merging.card import write_tree_card
from llpf_plugin.merging.gather import gathered
from llpf_plugin.merging.pair import Pair, Request, Source, open_pair
from llpf_plugin.merging.reorder import Align, resolved
from llpf_plugin.methods.base import Method
from llpf_plugin.methods.registry import make_method
from llpf_plugin.quality.beside import rank
from llpf_plugin.quality.verdict import Picked, Quality, check_pick
from llpf_plugin.ranks.group import from_first, on_first, together
from llpf_plugin.records import Row
from llpf_plugin.runs.alignment import Alignment
from llpf_plugin.runs.guard import check_folders
from llpf_plugin.runs.lock import held
from llpf_plugin.runs.tree import Join, Node, balanced, save_tree
from llpf_plugin.search.options import SearchOptions
from llpf_plugin.search.progress import Callback
from llpf_plugin.tasks.load import load_task
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Workspace

FRAME = "frame"
"""In the ``info`` of the runs of a tree: whether its models were brought into one frame."""

Advance = Literal["connected", "best"]
"""What advances from a pair: the merged model where the pair is connected, or always the best of it and its ends."""


class Watch:
    """What a caller may hang into a merge; every method may be left out.

    Of several ranks, the first alone is told what happens; callbacks are hung into the searches of all.
    """

    def on_gather(self, sentence: str) -> None:
        """More than two models were brought into one frame, or not: what is to be said of that."""

    def on_pair(self, name: str, number: int, total: int, ends: Sequence[Source]) -> None:
        """A pair's turn has come."""

    def on_open(self, pair: Pair) -> None:
        """The pair has been checked and aligned; its search is about to run."""

    def on_close(self, pair: Pair, quality: Quality, picked: Picked, merged: Path | None) -> None:
        """The pair's path has been judged, a point picked, and both have been written."""

    def callbacks(self, pair: str) -> Sequence[Callback]:
        """For the search of a pair."""
        return ()

    def running(self) -> AbstractContextManager[Any]:
        """Surrounds a search."""
        return nullcontext()


@dataclass(frozen=True)
class Finished:
    """A pair whose path has been found.

    Attributes:
        folder: of its run, None in memory.
        quality: of the path.
        picked: the point picked from it.
        alignment: what became of aligning B to A, None where that was not asked for.
    """

    folder: Path | None
    quality: Quality
    picked: Picked
    alignment: Alignment | None = None


@dataclass(frozen=True)
class Merged:
    """What a merge came to.

    Attributes:
        weights: the merged model, a state dict on the CPU.
        connected: whether every pair is.
        joins: what became of each pair.
        pairs: the path of each.
        gradient_steps: of all pairs.
        file: the merged model's file, None in memory.
    """

    weights: Mapping[str, Tensor]
    connected: bool
    joins: Sequence[Join]
    pairs: Sequence[Finished]
    gradient_steps: int
    file: Path | None


def merge(
    models: Sequence[Weights | str | Path | Source], task: Task | str, method: Method | str = "llpf", *,
    pick: str | float = "best", align: Align = "auto", advance: Advance = "connected",
    total_budget: int | None = None, out: Path | None = None, resume: bool = False, compute: Compute | None = None,
    named: Mapping[str, Any] | None = None, info: Mapping[str, Any] | None = None, watch: Watch | None = None,
    **search: Any,
) -> Merged:  # fmt: skip
    """Merge independently trained networks of one architecture along low-loss paths.

    Two models are connected, and a point of their path is picked. More are joined pairwise, as a balanced tree: from
    each pair one model advances.

    Args:
        models: at least two, state dicts, checkpoint files, or sources.
        task: as in `find_path`.
        method: as in `find_path`.
        pick: the point of each path: ``best`` on validation data with t in [0.1, 0.9], ``mid``, ``end``, or t itself.
        align: ``auto`` first brings B's units into A's order, which is the same function, where that lowers the maximum
            of the straight line; ``always`` in any case. More than two models are brought into the first one's frame
            before, where that lowers the loss of their mean. ``never`` is the paper's setting, and what ``auto`` means
            where one of its schedules is walked. The path ends at the re-ordered B.
        advance: what advances from a pair. With ``best``, one of two models that cannot be joined advances as well.
        total_budget: gradient steps of all pairs together; what one does not need is left to the others.
        out: a folder for runs, merged model and verdict; in memory without one.
        resume: continue the runs in ``out``.
        compute: device and precision.
        named: how task and method were named, for the run's folder: ``task``, ``task_arguments``, ``method``.
        info: what is good to know of a run, without being part of what it was asked for.
        watch: told of every step.
        **search: what is asked of every search, such as ``max_loss``; the fields of `SearchOptions`.

    Raises:
        LLPFError: of any kind; all models are checked before the first pair is searched, and nothing is overwritten.
    """
    check_pick(pick)
    request = Request(
        load_task(task), make_method(method), SearchOptions(**search), compute or Compute(), pick, align,
        dict(named or {}), dict(info or {}),
    )  # fmt: skip
    sources = [Source.of(model, number, request.task.model) for number, model in enumerate(models, start=1)]
    check_models(sources, request)
    unwatched, watch = watch is None, watch or Watch()
    with held(out):
        root = balanced(len(sources))
        nodes = list(root.pairs())
        if out is not None and len(nodes) > 1:
            check_folders(out, [node.name for node in nodes], resume)
        sources, request = _in_one_frame(sources, request, watch)
        going = {Node(i, i): source for i, source in enumerate(sources)}
        joins, pairs, steps, merged = list[Join](), list[Finished](), 0, None
        for number, node in enumerate(nodes, start=1):
            ends = [going.pop(half) for half in node.halves]
            on_first(watch.on_pair, node.name, number, len(nodes), ends)
            folder = out if out is None or len(nodes) == 1 else out / node.name
            left = None if total_budget is None else total_budget - steps
            own = request if left is None else _with_share(request, left, len(nodes) - number + 1)
            begun = folder is not None and (resume or len(nodes) > 1)
            try:
                pair = open_pair(node.name, ends, own, folder, begun, watch.callbacks(node.name))
                on_first(watch.on_open, pair)
                if unwatched:
                    on_first(pair.search.warn, 4)
                with pair.running(), watch.running():
                    quality = pair.search.run()
            except (InterruptedRun, RankError):
                raise
            except LLPFError:
                if advance != "best" or together():  # the other ranks may not have met it
                    raise
                going[node] = better(ends, own)
                continue
            picked, merged = pair.close(quality, keep=len(nodes) > 1)
            on_first(watch.on_close, pair, quality, picked, merged)
            any_case = advance == "best" or (len(nodes) > 1 and not quality.connected)
            moves_on = partial(advancing, node, pair, quality, picked, merged, any_case)
            going[node], join = from_first(moves_on)
            steps += quality.path.cost.gradient_steps or 0
            joins.append(join)
            pairs.append(Finished(folder, quality, picked, pair.alignment))
        names, only = [source.name for source in sources], merged if len(nodes) == 1 else None
        file = from_first(partial(_finish, going[root], out, names, joins, only))
        return Merged(going[root].weights, all(j.connected for j in joins), joins, pairs, steps, file)


def check_models(sources: Sequence[Source], request: Request) -> None:
    """Refuse models that do not fit the task or one another, and a model that is named twice.

    Raises:
        MismatchError: with the names of both.
    """
    if len(sources) < 2:
        raise LLPFError("a merge needs at least two models")
    first, seen = sources[0], dict[str, str]()
    for source in sources[1:]:
        preflight.check_beside(first.like, source.like, (first.name, source.name))
    for source in sources if len(sources) > 2 else ():
        if source is not first:
            preflight.check_pair(first.weights, source.weights, request.task.model, (first.name, source.name))
        mark = checkpoint.fingerprint(source.weights)
        if mark in seen:
            raise MismatchError(f"{seen[mark]} and {source.name} are the same model: name every model once")
        seen[mark] = source.name


def _in_one_frame(sources: list[Source], request: Request, watch: Watch) -> tuple[list[Source], Request]:
    """The models of a tree in one frame, if that is kept; the request notes it. Two models are aligned as a pair."""
    wish = resolved(request.align, request.method)
    if len(sources) < 3 or wish == "never":
        return sources, request
    first, model = sources[0], request.task.model
    pairs = [preflight.check_pair(first.weights, s.weights, model, (first.name, s.name)) for s in sources[1:]]
    full = [pairs[0][0], *(pair[1] for pair in pairs)]
    models, sentence = gathered(full, request.task, wish, request.compute, request.options.sample)
    on_first(watch.on_gather, sentence)
    moved = [replace(source, weights=weights) for source, weights in zip(sources, models, strict=True)]
    return moved, replace(request, info={**request.info, FRAME: sentence})


def _with_share(request: Request, left: int, pairs: int) -> Request:
    """The request of one of so many pairs that share a budget."""
    return replace(request, options=replace(request.options, budget=max(1, left // pairs)))


def advancing(
    node: Node, pair: Pair, quality: Quality, picked: Picked, merged: Path | None, best: bool
) -> tuple[Source, Join]:
    """The model that advances: the merged one, or the ``best`` of it and its ends; and what became of the pair."""
    a, b = pair.ends
    like = replace(a.like, path=merged) if a.like and merged else None
    point = Source(node.name, picked.weights, like)
    if merged and node.height > 0 and pair.run:
        point = Source.of(merged, network=pair.request.task.model)
    candidates = {"merged": point, "A": a, "B": b}
    chosen = "merged"
    if best:
        split = "validation" if picked.scores.get("validation") else "train"
        ranks = {"merged": rank(picked.scores[split]), **{k: _rank_of(quality.ends[k], split) for k in "AB"}}
        chosen = min(ranks, key=lambda name: ranks[name])
    shown = next((s for s in ("test", "validation") if picked.scores.get(s)), "train")
    words = {side: _words(quality.ends[side][shown], quality.ends[side][f"{shown}_accuracy"]) for side in "AB"}
    score, cost = picked.scores[shown], quality.path.cost
    words["merged"] = _words(score.loss if score else None, score.accuracy if score else None)
    steps, seconds = cost.gradient_steps or 0, cost.seconds or 0.0
    return candidates[chosen], Join(node, quality.connected, quality.maximum, steps, seconds, words, chosen)


def better(ends: Sequence[Source], request: Request) -> Source:
    """The better of two models on validation data, or on training data."""
    workspace = Workspace(request.task, request.compute)
    data = workspace.task.validation or workspace.task.train
    return min(ends, key=lambda end: rank(evaluate(workspace, end.weights, {"data": data})[0]["data"]))


def _rank_of(row: Row, split: str) -> tuple[float, float]:
    loss = row[split]
    return rank(None if loss is None else Score(loss, row[f"{split}_accuracy"]))


def _words(loss: float | None, accuracy: float | None) -> str:
    return "–" if loss is None else f"{loss:.4g}" if accuracy is None else f"{accuracy:.2%}"


def _finish(
    last: Source, out: Path | None, names: Sequence[str], joins: Sequence[Join], merged: Path | None
) -> Path | None:
    """Write the merged model of a tree, and what became of its pairs; that of a single pair is there already."""
    if out is None or merged is not None:
        return merged
    save_tree(out, [Path(name).stem for name in names], joins)
    place = checkpoint.write(out / "merged", last.weights, last.like or checkpoint.plain_form(last.weights))
    if last.like is not None and last.like.companions:
        write_tree_card(place, names, joins)
    return place
