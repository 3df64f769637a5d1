"""`find_path`: the only loop. It walks, measures the dense path, walks what is above the goal again, measures again."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby, pairwise
from pathlib import Path as FilePath
from typing import Any

from torch import Tensor

from llpf_plugin import checkpoint, preflight
from llpf_plugin.errors import InterruptedRun, LLPFError
from llpf_plugin.evaluation.along_path import Row, measure_segment
from llpf_plugin.evaluation.goal import Levels, levels, measure_ends
from llpf_plugin.geometry.knots import Chain, Knots, MemoryKnots
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import Weights, clone, coordinates, select, ties
from llpf_plugin.llpf import common_spheres as legs
from llpf_plugin.llpf.plan import Slices, cut_slices
from llpf_plugin.memory import peak_memory
from llpf_plugin.methods.base import Finder, Leg, Outcome
from llpf_plugin.methods.curve import even_knots
from llpf_plugin.methods.dispatch import POLISHED, make_method
from llpf_plugin.quality import Quality, judge
from llpf_plugin.search.assemble import ENDED, Weave
from llpf_plugin.search.progress import Callback, Progress, Stretch
from llpf_plugin.search.settings import Settings
from llpf_plugin.tasks.task import Task, load_task
from llpf_plugin.workspace import Compute, Gradient

REPAIR = 200
"""Gradient steps that every repair may take, even where the walk itself took fewer."""


class Search:
    """A running search: what callbacks see. `find_path` makes one and runs it."""

    def __init__(
        self, a: Weights, b: Weights, task: Task, settings: Settings, compute: Compute | None = None,
        knots: Knots | None = None, callbacks: Sequence[Callback] = (),
    ) -> None:  # fmt: skip
        self.settings, self.callbacks = settings, callbacks
        self.gradient = Gradient(task, compute, settings.seed, settings.batch_size)
        self.gradient.budget = settings.budget
        self.task = self.gradient.task
        self.start, self.end = clone(a, "cpu"), clone(b, "cpu")
        self.knots: Knots = MemoryKnots() if knots is None else knots
        self.progress = Progress.new()
        self.finder: Finder | None = None
        self.work: Any = None
        self.stop = False
        self._resumed: Mapping[str, Tensor] | None = None
        self._clock = time.monotonic()
        self.slices: Slices = {}
        self.levels: Levels
        self.route = legs.Route()
        self.weave: Weave

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that a resumed search needs: JSON values, and the tensors of the finder."""
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = now
        self.progress.steps = self.gradient.steps
        tensors = self.finder.save(self.work) if self.finder is not None and self.progress.state is not None else {}
        return asdict(self.progress), tensors

    def resume(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from a snapshot instead of from the start."""
        self.progress = Progress.from_dict(values)
        self.gradient.steps = self.progress.steps
        self._resumed = tensors

    def run(self) -> Quality:
        """Walk, measure, repair, until the path is under the goal, the repairs are used up, or the budget is."""
        if self._resumed is None:
            names = list(coordinates(self.gradient.model))
            self.knots.put(0, select(self.start, names))
            self.knots.put(1, select(self.end, names))
        self.progress.ends = self.progress.ends or measure_ends(
            self.gradient, self.knots.get(0), self.knots.get(1), self.settings.sample
        )
        self.levels = levels(self.settings, self.progress.ends, self.task.defaults.tolerance)
        self.slices = cut_slices(self.settings, self.gradient)
        self.route = self._route()
        if self._resumed is None:
            self.progress.chain, self.progress.todo = list(self.route.chain), list(self.route.todo)
            self.progress.next_knot = max(self.route.chain) + 1
        self.weave = Weave(
            self.progress, self.knots, self.gradient, self.settings, self.levels, self.route.todo[-1].end
        )
        # What is asked for is refused here, before anything is written.
        make_method(self.settings, self.task, self.levels, self.slices)
        self._tell("on_start")
        while True:
            while self.progress.todo:
                self._walk(self.progress.todo[0])
            segments = self._lower(self._measure())
            self.progress.todo = self._repairs(segments) or self._polish(segments)
            if not self.progress.todo:
                break
            self.progress.round += not self.progress.todo[0].polish
        quality = judge(self.path(), segments, self.gradient, self.levels.goal, self.settings.sample)
        self._tell("on_end")
        return quality

    def path(self) -> Path:
        """The path as it stands: the line from A to B before the first stretch is done."""
        p = self.progress
        outcome = Outcome[p.outcome] if p.outcome else None
        cost: dict[str, Any] = {
            "gradient_steps": self.gradient.steps, "seconds": p.seconds + time.monotonic() - self._clock,
            "dropped": p.dropped, "repairs": p.round, "goal": self.levels.goal,
            "peak_memory": peak_memory(self.gradient.device),
        }  # fmt: skip
        if p.legs:
            cost["legs"] = p.legs
        chain = [i for i in p.chain if str(i) in p.labels]  # A′ and B′ are known once they are reached
        labels = [p.labels[str(i)] for i in chain]
        knots = Chain(self.knots, chain)
        return Path(knots, self.start, self.end, labels, ties(self.gradient.model), outcome, p.record, cost)

    def _route(self) -> legs.Route:
        """What there is to walk at first."""
        return legs.route(self.settings, self.gradient, self.knots.get(0), self.knots.get(1))

    def _finder(self, stretch: Stretch) -> Finder:
        if stretch.open:
            start = self.knots.get(stretch.start)
            return legs.descent(self.settings, self.gradient, self.levels, self.route, start, stretch.leg)
        settings, _ = legs.repair(self.settings, stretch)
        return make_method(settings, self.task, self.levels, self.slices, stretch)

    def _walk(self, stretch: Stretch) -> None:
        """One stretch: ticks until the finder's outcome, the budget's end, or a stop; then its knots join the path."""
        p, gradient = self.progress, self.gradient
        finder = self._finder(stretch)
        via = even_knots(self.path(), POLISHED) if stretch.polish else ()
        end = stretch.start if stretch.open else stretch.end
        leg = Leg(gradient, self.knots.get(stretch.start), self.knots.get(end), via)
        work, state = finder.init(leg)
        if self._resumed is not None and p.state is not None:
            finder.load(work, self._resumed)
            state = finder.state_from(p.state)
        else:
            p.begun = gradient.steps
        self._resumed = None
        self.finder, self.work, p.state = finder, work, asdict(state)
        while state.outcome is None and self._may_go_on(stretch):
            step = finder.step(work, state)
            state = step.state
            p.state = asdict(state)
            report = {"stretch": p.round, "leg": stretch.leg, "gradient_steps": gradient.steps, **step.report}
            p.record.append(report)
            if step.knot:
                self.weave.keep(finder.knot(work), str(report.get("side", "A")), self.weave.label(stretch, report))
            self._tell("on_tick", report)
            if self.stop:
                raise InterruptedRun("stopped after a tick; everything so far is kept")
        self.weave.join(stretch, finder.closing(work, state), state.outcome, finder.kind == "curve")
        self.finder = self.work = None

    def _may_go_on(self, stretch: Stretch) -> bool:
        """Whether budget is left; a repair may take as many steps as the walk itself, and at least `REPAIR`."""
        if self.gradient.remaining == 0:
            return False
        return stretch.strictness == 0 or self.gradient.steps - self.progress.begun < max(REPAIR, self.progress.walked)

    def _measure(self) -> list[list[Row]]:
        """Rows of every segment of the path; what was measured before is not measured again."""
        p = self.progress
        names = [f"{i}-{j}" for i, j in zip(p.chain, p.chain[1:], strict=False)]
        p.segments = {name: rows for name, rows in p.segments.items() if name in names}
        last: Row | None = None
        for done, (name, i, j) in enumerate(zip(names, p.chain, p.chain[1:], strict=False), start=1):
            if name not in p.segments:
                a, b = self.knots.get(i), self.knots.get(j)
                p.segments[name] = measure_segment(
                    self.gradient, a, b, self.settings.points, self.settings.sample, (last, None)
                )
            last = p.segments[name][-1]
            self._tell("on_measure", done, len(names))
            if self.stop:
                raise InterruptedRun("stopped while the path was measured; everything so far is kept")
        return [p.segments[name] for name in names]

    def _repairs(self, segments: list[list[Row]]) -> list[Stretch]:
        """The stretches above the goal, from good knot to good knot; none once repairs or budget are used up."""
        p = self.progress
        if p.outcome not in ENDED or p.round >= self.settings.repairs or self.gradient.remaining == 0:
            return []
        labels = [p.labels[str(i)] for i in p.chain]
        bad = [
            legs.leg_of(labels[i], labels[i + 1]) if any(not row["train"] <= self.levels.goal for row in rows) else None
            for i, rows in enumerate(segments)
        ]
        stretches = []
        for leg, run in groupby(range(len(bad)), key=lambda i: bad[i]):
            first, *_, last = [*run] * 2
            if leg is not None and labels[first]["kind"] != "closing":  # the closing segment has no knots to move
                stretch = Stretch(p.chain[first], p.chain[last + 1], p.round + 1, leg)
                stretches.append(legs.repair(self.settings, stretch)[1])
        return stretches

    def _polish(self, segments: Sequence[Sequence[Row]]) -> list[Stretch]:
        """The whole path, to be trained as a chain, once, if that was asked for and budget is left."""
        p = self.progress
        if p.polished or self.settings.polish == 0 or self.gradient.remaining == 0:
            return []
        p.polished = True
        p.former = {"chain": list(p.chain), "segments": dict(p.segments), "outcome": p.outcome}
        target = self.levels.goal if highest(segments) > self.levels.goal else None
        return [Stretch(p.chain[0], p.chain[-1], polish=True, target=target)]

    def _lower(self, segments: list[list[Row]]) -> list[list[Row]]:
        """After polishing, the path of before if that one is lower; the knots of the other are dropped."""
        p = self.progress
        if p.former is None:
            return segments
        former, p.former = p.former, None
        chain = former["chain"]
        before = [former["segments"][f"{i}-{j}"] for i, j in pairwise(chain)]
        if highest(segments) <= highest(before):
            self.weave.discard(set(chain) - set(p.chain), superfluous=False)
            return segments
        self.weave.discard(set(p.chain) - set(chain), superfluous=False)
        p.chain, p.segments, p.outcome = chain, former["segments"], former["outcome"]
        return before

    def _tell(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)


def highest(segments: Sequence[Sequence[Row]]) -> float:
    """The maximum of the training loss over measured segments; what is not a number counts as infinite."""
    losses = [row["train"] for rows in segments for row in rows]
    return max(loss if math.isfinite(loss) else math.inf for loss in losses)


def find_path(
    a: Weights | str | FilePath, b: Weights | str | FilePath, task: Task | str, settings: Settings | None = None, *,
    compute: Compute | None = None, knots: Knots | None = None, callbacks: Sequence[Callback] = (),
    resume: tuple[Mapping[str, Any], Mapping[str, Tensor]] | None = None, **options: Any,
) -> Path:  # fmt: skip
    """Connect two trained networks of one architecture by a path of low training loss.

    The search stops when the dense path lies under the goal, or the repairs or the budget are used up; the path
    says in ``outcome`` and ``cost`` how far it came. The path starts exactly at ``a`` and ends exactly at ``b``.

    Args:
        a: model A, a state dict or a checkpoint file.
        b: model B, likewise.
        task: the network's model, objective and data; a `Task`, or a name or factory that `load_task` takes.
        settings: what is asked of the search; or give its fields as keyword arguments.
        compute: device and precision.
        knots: where knots are kept (default: in memory).
        callbacks: called at every tick.
        resume: go on from this `Search.snapshot`; everything else must be as it was, ``knots`` included.
        **options: fields of `Settings`, e.g. ``max_loss=0.1``.

    Returns:
        The path, with what the search measured of it in ``path.quality``; ``measure(path, task)`` measures again.

    Raises:
        CheckpointError: a file cannot be read.
        MismatchError: the weights do not fit each other or the task's model, or hold NaN.
        TaskError: the task cannot be built.
        LLPFError: the goal lies below the loss of an end, or a setting makes no sense.

    Example:
        >>> path = find_path("a.pt", "b.pt", "digits/resnet", max_loss=0.1)
        >>> quality = measure(path, "digits/resnet")
        >>> merged = quality.pick("best").weights
    """
    task = load_task(task)
    if settings is not None and options:
        raise LLPFError(f"{', '.join(options)}: given beside settings; give one of the two")
    settings = settings or Settings(**options)
    pair = [w if isinstance(w, dict) else checkpoint.read(w).weights for w in (a, b)]
    full = preflight.check_pair(pair[0], pair[1], task.model)
    search = Search(*full, task, settings, compute, knots, callbacks)
    if resume is not None:
        search.resume(*resume)
    quality = search.run()
    quality.path.quality = quality
    return quality.path
