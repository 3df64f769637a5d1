"""One pair of a row of the paper: its ends trained, connected, measured, and kept as one line of JSON."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from provenance import stamp
from shared import trained

from llpf_plugin import LLPF, Compute, Quality, Task, find_path, load_task
from llpf_plugin.alignment.matching import align
from llpf_plugin.errors import InterruptedRun, LLPFError
from llpf_plugin.evaluation import losses_on_line, score, train_loss
from llpf_plugin.geometry import Path as LossPath
from llpf_plugin.geometry import Weights, buffers, lerp
from llpf_plugin.llpf.schedule import shipped
from llpf_plugin.methods.base import Method
from llpf_plugin.methods.registry import make_method
from llpf_plugin.preflight import layer_statistics
from llpf_plugin.quality import trace_layers
from llpf_plugin.records import Record, Tick
from llpf_plugin.runs import Asked, RunFolder
from llpf_plugin.search import Callback, Searching, SearchOptions
from llpf_plugin.workspace import Workspace

ENDS = Path(__file__).parent / "results" / "ends"
"""Small networks that lines rest on, kept so that further pairs have the same ends on every machine."""

SEGMENTS, WITHIN = 5, 50
"""Segments between knots that continuity is checked on, spread over the path, and points in each of them."""


@dataclass(frozen=True)
class Row:
    """What is to be reproduced.

    Attributes:
        task: its name.
        arguments: of its factory.
        schedule: ``paper`` for the shipped schedule of the network, ``adaptive`` for ours, or a schedule's name.
        epochs: of the ends, None for the recipe's.
        options: of the search.
        places: of the path, evenly spaced, that the figure has on training and test data.
        sample: examples at most, of each split, that these places and the check of continuity are measured on.
        method: by which the ends are connected; one that is not ``llpf`` has no schedule.
        aligned: B's units are first brought nearest to A's, which is not of the paper.
    """

    task: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = "adaptive"
    epochs: float | None = None
    options: SearchOptions = field(default_factory=SearchOptions)
    places: int = 50
    sample: int = 2000
    method: str = LLPF.name
    aligned: bool = False

    @property
    def stem(self) -> str:
        """What the folder of its networks is called."""
        words = [self.task, *(f"{k}={v}" for k, v in sorted(self.arguments.items()))]
        if self.epochs is not None:
            words.append(f"epochs={self.epochs:g}")
        if self.options.batch_size is not None:
            words.append(f"batch={self.options.batch_size}")
        return "-".join(words).replace("/", "-")

    def folder(self, cache: Path, pair: tuple[int, int]) -> Path:
        """Where the run of a pair is kept."""
        return cache / self.stem / f"{self.way.replace(', ', '-')}-{pair[0]}-{pair[1]}"

    def load(self) -> Task:
        """The task, its ends trained on batches as large as the search's where that was told."""
        task = load_task(self.task, self.arguments)
        size = self.options.batch_size
        return task if size is None else replace(task, recipe=replace(task.recipe, batch_size=size))

    def has(self, line: "Line") -> bool:
        """Whether a line is one of this row's."""
        return (line.task, dict(line.arguments), line.way, line.epochs, line.batch_size) == (
            self.task, dict(self.arguments), self.way, self.epochs, self.options.batch_size,
        )  # fmt: skip

    @property
    def way(self) -> str:
        """How its pairs are connected, in words."""
        return way(self.method, self.schedule, self.aligned)

    def configured(self) -> Method:
        """How its pairs are connected.

        Raises:
            LLPFError: there is no such schedule, or no such method.
        """
        if self.method != LLPF.name:
            return make_method(self.method)
        if self.schedule == "adaptive":
            return LLPF()
        data, _, network = self.task.partition("/")
        name = f"{network}-{data}" if self.schedule == "paper" else self.schedule
        if name not in shipped():
            raise LLPFError(
                f"the paper has no schedule for {self.task}: use --schedule adaptive, or one of {', '.join(shipped())}"
            )
        return LLPF(schedule=name)


@dataclass(frozen=True)
class Line(Record):
    """One pair, measured.

    Attributes:
        task, arguments, schedule, epochs: of its `Row`.
        batch_size: of the ends' training and of the search, None for the recipe's and the task's.
        pair: the seeds of its ends.
        line: the maximum training loss on the straight line.
        maximum: that of the dense path.
        mean: the mean training loss on the path, by arc length.
        rolling: the highest rolling mean of the mini-batch losses at the end of a settling: the paper's own quantity.
        steps: gradient steps.
        ticks: moves, those that were undone included.
        knots: of the path, redundant ones dropped.
        length: the path's over the straight line's.
        seconds: by kind of work.
        outcome: of the walk.
        connected: whether all three criteria hold, and of each whether it holds.
        criteria: by name.
        goal: the training loss that was asked for.
        ends: losses and accuracies of A, B and the last settled knot.
        apart: of the ends, over all matrices: the largest |``cosine``| between them (appendix C), the largest ratio
            of their ``variance``s, either way round (appendix A), and the largest |``mean``| over standard deviation
            (appendix B).
        curve: by arc length: ``t``, ``train``, ``test``, ``test_accuracy``, and ``distance`` to B of every layer.
        continuity: of some segments: how far the loss between two knots exceeds the higher of them at most.
        measured: commit, machine, day.
        method, aligned: of its `Row`.
    """

    task: str
    arguments: Mapping[str, Any]
    schedule: str
    epochs: float | None
    batch_size: int | None
    pair: tuple[int, int]
    line: float
    maximum: float
    mean: float
    rolling: float
    steps: int
    ticks: int
    knots: int
    length: float
    seconds: Mapping[str, float]
    outcome: str
    connected: bool
    criteria: Mapping[str, bool | None]
    goal: float | None
    ends: Mapping[str, Any]
    apart: Mapping[str, float]
    curve: Mapping[str, Any]
    continuity: Mapping[str, Any] | None
    measured: str
    method: str = LLPF.name
    aligned: bool = False

    @property
    def way(self) -> str:
        """How the ends were connected, in words."""
        return way(self.method, self.schedule, self.aligned)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Line":
        """Inverse of `to_json`."""
        line = super().from_json(values)
        return replace(line, pair=(line.pair[0], line.pair[1]))


def way(method: str, schedule: str, aligned: bool) -> str:
    """How ends are connected, in words: LLPF by its schedule, any other method by its name."""
    return (schedule if method == LLPF.name else method) + ", aligned" * aligned


class Deadline(Callback):
    """Stops a search in time, and says how far it is.

    Args:
        minutes: from now, None for no limit.
        said: how everything that it says begins.
    """

    def __init__(self, minutes: float | None, said: str = "  ") -> None:
        self.end = None if minutes is None else time.monotonic() + 60 * minutes
        self._begin, self._said = said, time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.end is not None and time.monotonic() > self.end

    @property
    def left(self) -> float | None:
        """Minutes until then."""
        return None if self.end is None else max(0.0, (self.end - time.monotonic()) / 60)

    def training(self, step: int, steps: int, loss: float) -> None:
        """Look at the clock while an end is trained; say something twice a minute."""
        if self.over:
            raise InterruptedRun("the time was over while an end was trained")
        if time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            print(f"{self._begin}step {step} of {steps}, loss {loss:.4g}", flush=True)

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """Look at the clock; say something twice a minute."""
        search.stop = self.over
        if time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            print(
                f"{self._begin}{tick.phase}, tick {tick.tick}: {search.workspace.steps} steps, "
                f"loss {tick.settled_loss:.4g}, distance to go {tick.gap:.4g}", flush=True,
            )  # fmt: skip

    def on_measure(self, search: Searching, done: int, total: int) -> None:
        """Look at the clock."""
        search.stop = self.over


def pairs_of(count: int) -> Iterator[tuple[int, int]]:
    """Pairs of seeds, so that few ends make many pairs: 0-1, 0-2, 1-2, 0-3 and so on."""
    found = ((i, j) for j in range(1, count + 1) for i in range(j))
    return (pair for pair, _ in zip(found, range(count), strict=False))


def one_pair(row: Row, pair: tuple[int, int], folder: Path, compute: Compute, deadline: Deadline, dense: bool) -> Line:
    """Connect one pair, or go on with it.

    Args:
        row: what it belongs to.
        pair: seeds of the ends.
        folder: of all networks and runs.
        compute: device and precision.
        deadline: of the whole command.
        dense: check the continuity as well.

    Raises:
        InterruptedRun: the time is over; the next call goes on from here.
    """
    task = row.load()
    a, b = (end(row, task, seed, folder, compute, deadline) for seed in pair)
    if row.aligned:
        b = align(a, b, task).weights
    path = search(row, task, pair, (a, b), folder, compute, deadline)
    quality, cost = path.quality, path.cost
    walked = [tick for tick in path.record if tick.stretch == 0]
    return Line(
        row.task, dict(row.arguments), row.schedule, row.epochs, row.options.batch_size, pair,
        max(losses_on_line(quality.workspace, a, b)), quality.maximum, quality.mean,
        max((tick.settled_loss for tick in walked if tick.kept), default=float("nan")),
        cost.gradient_steps or 0, len(walked), len(path.knots), path.length_ratio,
        {kind: spent.seconds for kind, spent in cost.spent.items()},
        path.outcome.name if path.outcome else "", quality.connected, {c.name: c.holds for c in quality.criteria},
        quality.goal, {name: asdict(end) for name, end in quality.ends.items()},
        apart(a, b), curve(quality, row.places, row.sample),
        continuity(quality, row.sample) if dense else None, stamp(quality.workspace.device) + _precision(compute),
        row.method, row.aligned,
    )  # fmt: skip


def _precision(compute: Compute) -> str:
    """The precision of activations, where it is not that of the weights."""
    return "" if compute.precision == "float32" else f", {compute.precision}"


def end(row: Row, task: Task, seed: int, folder: Path, compute: Compute, deadline: Deadline) -> Weights:
    """One end, trained if it is not there.

    Raises:
        InterruptedRun: the time is over.
    """
    if deadline.over:
        raise InterruptedRun("the time was over before both ends were trained")
    kept, own = (place / row.stem / f"{seed}.pt" for place in (ENDS, folder))
    place = kept if kept.is_file() else own
    return trained(task, place, seed, compute, epochs=row.epochs, progress=deadline.training)


def search(
    row: Row, task: Task, pair: tuple[int, int], ends: Sequence[Weights], folder: Path, compute: Compute,
    deadline: Deadline,
) -> LossPath:  # fmt: skip
    """The path of one pair, kept in a run's folder as it grows."""
    run = RunFolder(row.folder(folder, pair))
    method, names = row.configured(), buffers(task.model)
    asked = Asked(
        f"{pair[0]}.pt", f"{pair[1]}.pt", row.task, row.arguments, method.name, method.settings(),
        row.options.to_json(), compute=asdict(compute),
    )  # fmt: skip
    if run.exists:
        run.check_same(asked)
    else:
        run.create(asked, *({k: end[k] for k in names} for end in ends))
    return find_path(
        *ends, task, method, **row.options.to_json(), compute=compute, knots=run.knots, callbacks=(deadline, run),
        resume=run.load(),
    )  # fmt: skip


def apart(a: Weights, b: Weights) -> dict[str, float]:
    """How independent two ends are, and how near their variance spheres: the extremes over all matrices."""
    found = layer_statistics(a, b)
    return {
        "cosine": max(abs(one.cosine) for one in found),
        "variance": max(max(one.ratio, 1 / max(one.ratio, 1e-300)) for one in found),
        "mean": max(one.off_centre for one in found),
    }


def curve(quality: Quality, count: int, sample: int) -> dict[str, Any]:
    """Training and test loss at evenly spaced places, and how far every layer still has to go there."""
    path, workspace = quality.path, quality.workspace
    places = np.linspace(0, 1, count + 1)
    losses = [_losses(workspace, {**path.rest(t), **path.coordinates(t)}, sample) for t in places]
    traces = trace_layers(path, quality.layers)
    distance = {
        layer: [round(float(d), 5) for d in np.interp(places, traces.positions, traces.distance[:, i])]
        for i, layer in enumerate(traces.layers)
    }
    return {"t": places.tolist(), **{k: [own[k] for own in losses] for k in losses[0]}, "distance": distance}


def _losses(workspace: Workspace, weights: Weights, sample: int) -> dict[str, float | None]:
    """One place on samples of the training and the test data."""
    loss, test = train_loss(workspace, weights, min(sample, len(workspace.task.train))), workspace.task.test
    found = None if test is None else score(workspace, test, min(sample, len(test)))
    return {"train": loss, "test": found and found.loss, "test_accuracy": found and found.accuracy}


def continuity(quality: Quality, sample: int) -> dict[str, Any]:
    """How far the loss within segments exceeds that of their knots, at `WITHIN` points each."""
    path, workspace = quality.path, quality.workspace
    chosen = np.unique(np.linspace(0, len(path.knots) - 2, SEGMENTS).round().astype(int)).tolist()
    sample, excess = min(sample, len(workspace.task.train)), []
    for i in chosen:
        p, q = path.knots[i], path.knots[i + 1]
        losses = [
            train_loss(workspace, lerp(p, q, u), min(sample, len(workspace.task.train)))
            for u in np.linspace(0, 1, WITHIN)
        ]
        excess.append(max(losses) - max(losses[0], losses[-1]))
    return {"segments": chosen, "points": WITHIN, "excess": excess}


def read_lines(place: Path) -> list[Line]:
    """The lines so far.

    Raises:
        LLPFError: one of them is damaged.
    """
    text = place.read_text(encoding="utf-8") if place.is_file() else ""
    lines = []
    for number, own in enumerate(text.splitlines(), 1):
        try:
            lines.append(Line.from_json(json.loads(own)))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise LLPFError(
                f"{place}, line {number} is damaged ({type(error).__name__}: {error}): "
                "remove it, and the pair is measured again"
            ) from error
    return lines
