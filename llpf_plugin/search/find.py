"""`find_path`: the only loop. It searches, measures the path, searches again what is above the goal, measures again."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from torch import Tensor

from llpf_plugin import checkpoint, preflight
from llpf_plugin.clock import Clock
from llpf_plugin.documents import listed, shortened, validated, visible
from llpf_plugin.errors import InterruptedRun, RunError
from llpf_plugin.evaluation.ends import batch_loss, measure_ends
from llpf_plugin.evaluation.goal import Ends, Goal, goal_of
from llpf_plugin.evaluation.survey import Along, Effort, Survey, ends_of_path, places
from llpf_plugin.geometry.knots import Chain, Knots, MemoryKnots
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import Weights, assign, clone, coordinates, on_cpu, select, tied, ties
from llpf_plugin.methods.base import Method, MovesEnd, Plan, Problem, Solver, Stretch
from llpf_plugin.methods.registry import make_method
from llpf_plugin.quality.measuring import judge
from llpf_plugin.quality.verdict import Quality
from llpf_plugin.ranks.group import in_touch, together
from llpf_plugin.records import Cost, Outcome, Rate, Row, Tick
from llpf_plugin.search.agreement import check_task, in_step
from llpf_plugin.search.assemble import PathAssembler
from llpf_plugin.search.moved_end import move_end
from llpf_plugin.search.options import SearchOptions
from llpf_plugin.search.progress import Callback, Cut, Fresh, Progress
from llpf_plugin.search.rate import find_rate, on_spheres, slower
from llpf_plugin.tasks import position
from llpf_plugin.tasks.load import load_task
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Workspace

Snapshot = tuple[Mapping[str, Any], Mapping[str, Tensor]]
"""What `Search.snapshot` returns."""


class Search:
    """A running search: what callbacks see. `find_path` makes one and runs it.

    Args:
        a, b: complete state dicts, which must not change while it runs.
        task: model and data.
        method: how the path is found.
        options: what is asked of it.
        compute: device and precision.
        knots: where knots are kept (default: in memory).
        callbacks: called at every tick.
        resume: continue from this snapshot; everything else must be as it was, ``knots`` included.
    """

    goal: Goal
    plan: Plan
    _ends: Ends
    assembler: PathAssembler

    @in_touch()
    def __init__(
        self, a: Weights, b: Weights, task: Task, method: Method, options: SearchOptions,
        compute: Compute | None = None, knots: Knots | None = None, callbacks: Sequence[Callback] = (),
        resume: Snapshot | None = None,
    ) -> None:  # fmt: skip
        options = options.under(method.terms(task))
        self.method, self.options, self.callbacks = method, options, [*in_step(), *callbacks]
        self.workspace = Workspace(task, compute, options.seed, options.batch_size)
        self.workspace.budget = options.budget
        self.effort = Effort(options.points, options.sample, options.measure == "exact")
        self.start, self.end = on_cpu(a), on_cpu(b)
        self.knots: Knots = MemoryKnots() if knots is None else knots
        self.progress = Progress() if resume is None else Progress.from_json(resume[0])
        self.workspace.steps = self.progress.steps
        position.begin(self.workspace.task.train, self.progress.loader)
        self._resumed = None if resume is None else resume[1]
        self.solver: Solver | None = None
        self._kept = {} if resume is None or self.progress.cut is None else dict(resume[1])
        self.stop = False
        self.rows: Sequence[Row] = ()
        self.workspace.clock = Clock(self.progress.spent)
        self._as_trained = self.end
        self._other = {k: t / 2 if t.is_floating_point() else t for k, t in a.items()} if a is b else self.end
        if together():
            check_task(self.workspace, self.start, self.end, self.unreached)
            _ = self.findings  # found now, by all ranks

    def lead_to(self, b: Weights) -> None:
        """Let the path end at ``b``, B re-ordered, before it is run; whether B was trained apart is asked of B."""
        self.end = self._other = on_cpu(b)

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that a resumed search needs: JSON values, and the tensors of the solver."""
        self.progress.spent, self.progress.steps = self.workspace.clock.spent(), self.workspace.steps
        self.progress.loader = position.now(self.workspace.task.train)
        tensors: Mapping[str, Tensor] = self._kept
        if self.progress.state is not None:  # of a search that is resumed, and has not come to its solver yet
            tensors = self.solver.save() if self.solver is not None else self._resumed or {}
        return self.progress.to_json(), dict(tensors)

    @in_touch()
    def run(self) -> Quality:
        """Search, measure, repair, until the path is under the goal, the repairs are used up, or the budget is."""
        self._begin()
        if self.progress.cut is not None and self.workspace.remaining != 0:
            self._go_on(self.progress.cut)
        self._tell("on_start")
        while True:
            while self.progress.todo:
                self._search(self.progress.todo[0])
            rows = self._measure()
            rows = rows if self.assembler.keep_better(rows) else self._measure()
            self.progress.todo = self.assembler.repairs(rows, self.goal)
            if not self.progress.todo:
                break
        path = self.path()
        with self.workspace.clock.on("measuring"):
            ends, sample, exact = self._known_ends(), self.options.sample, self.effort.exact
            path.quality = judge(path, rows, ends, self.workspace, self.goal.loss, sample, exact)
        path.cost, self.rows = self._cost(), path.quality.rows
        self._tell("on_end")
        return path.quality

    @cached_property
    def unreached(self) -> tuple[str, ...]:
        """What the data never reach, by its names in the state dict: it stays A's, and is no coordinate of the path."""
        model = self.workspace.model
        if self.progress.ends is None:
            names = preflight.unreached(self.workspace, self.start, self._other, self.options.sample)
        else:  # resumed: as it was found before
            walked = self.knots.get(0)
            names = [k for k in coordinates(model) if k not in walked]
        return preflight.with_what_belongs(model, names)

    @property
    def names(self) -> list[str]:
        """The coordinates of the path."""
        return [name for name in coordinates(self.workspace.model) if name not in self.unreached]

    @cached_property
    def findings(self) -> list[preflight.Finding]:
        """What the model does with the data that a user should know before the search."""
        ends, found = {"A": self.start}, list[preflight.Finding]()
        if self._other is self.end:
            ends["B"], names = self.end, preflight.trained(self.workspace.model, self.names)
            found += preflight.independent(self.start, self._as_trained, names)
        found += self.method.findings(self.workspace)
        return [*found, *preflight.training_mode(self.workspace, ends), *preflight.say_unreached(self.unreached)]

    def warn(self, depth: int = 3) -> None:
        """Issue the `findings` as Python's warnings, where no console shows them.

        Args:
            depth: frames between this one and the user's, both counted.
        """
        for found in self.findings:
            warnings.warn(str(found), stacklevel=depth)

    def _begin(self) -> None:
        """Measure the ends and bind the method; what makes no sense is refused here, before anything is written."""
        p, names = self.progress, self.names
        first = p.ends is None
        assign(self.workspace.model, self.start)  # buffers as well: the whole path has A's
        if first:
            self.knots.put(0, select(self.start, names))
            self.knots.put(1, select(self.end, names))
        a, b = self.knots.get(0), self.knots.get(1)
        if not first:
            self._check_form(a)
        with self.workspace.clock.on("measuring"):
            middle = on_spheres(a, b)(0.5) if first and self.method.seeks_rate else None
            p.ends = self._ends = p.ends or self._measured_ends(middle)
        defaults, asked = self.workspace.task.defaults, self.options
        self.goal = goal_of(asked.max_loss, asked.tolerance, p.ends, defaults.tolerance)
        self.momentum = defaults.momentum if asked.momentum is None else asked.momentum
        if first and self.method.seeks_rate:
            look = asked.lr is None
            p.rate = find_rate(self.workspace, a, b, self.goal, self.momentum) if look else Rate(asked.lr or 0.0)
            p.begun = self.workspace.steps
        self._bind(a, b)
        if first:
            p.chain, p.todo = list(self.plan.chain), list(self.plan.stretches)
            p.next_knot = max(self.plan.chain) + 1
        self.assembler = PathAssembler(p, self.knots, self.workspace, self.plan, asked.sample, frozenset(names))

    def _measured_ends(self, middle: Weights | None) -> Ends:
        """Both ends; and the point halfway between them, for a method that goes by it."""
        ends = measure_ends(self.workspace, self.start, self.end, self.options.sample)
        if middle is None:
            return ends
        loss = batch_loss(self.workspace, middle)
        assign(self.workspace.model, self.start)
        return replace(ends, middle=loss)

    def _check_form(self, knot: Weights) -> None:
        """Refuse what was kept of a search on another model.

        Raises:
            RunError: names or shapes are not the model's.
        """
        own = coordinates(self.workspace.model)
        odd = [k for k, t in knot.items() if k not in own or own[k].shape != t.shape or not t.is_floating_point()]
        if odd or not knot:
            raise RunError("the knots that the search is to go on from are not those of this model: they were edited")

    def _bind(self, a: Weights, b: Weights) -> None:
        """Make the method's plan at the learning rate that there is."""
        p = self.progress
        rate = p.rate or Rate(self.options.lr or self.workspace.task.defaults.lr)
        rest = {k: t for k, t in self.end.items() if k not in b}
        self.plan = self.method.bind(Problem(self.workspace, a, b, self.goal, rate.value, self.momentum, p.begun, rest))

    def path(self) -> Path:
        """The path as it stands: the line from A to B before the first stretch is done."""
        p = self.progress
        chain = [i for i in p.chain if str(i) in p.labels]  # A′ and B′ are known once they are reached
        chain = chain if len(chain) > 1 else [0, 1]
        labels, knots = [p.labels[str(i)] for i in chain], Chain(self.knots, chain)
        end, names = self._reached_end, ties(self.workspace.model)
        if self._descends:  # B is no model, but where the walk came to
            end = tied({**end, **knots[-1]}, names)
        outcome = Outcome[p.outcome] if p.outcome else None
        cost = self._cost()
        moved = p.moved is not None
        return Path(
            knots, self.start, end, labels, names, outcome, p.record, cost, unreached=self.unreached, equivalent=moved
        )

    @property
    def _reached_end(self) -> Weights:
        """B's complete state dict, or that of the network that the path ends at in its place."""
        moved = self.progress.moved
        return self.end if moved is None else {**self.end, **self.knots.get(moved.rest), **self.knots.get(moved.knot)}

    @property
    def _descends(self) -> bool:
        return self.plan.stretches[-1].open and self.progress.chain[-1] == 1

    def _cost(self) -> Cost:
        p, spent = self.progress, self.workspace.clock.spent()
        return Cost(
            self.workspace.steps, sum(own.seconds for own in spent.values()), p.dropped, p.round, self.goal.loss,
            self.workspace.peak_memory(), dict(p.legs), spent, p.rate,
        )  # fmt: skip

    def _search(self, stretch: Stretch) -> None:
        """One stretch: steps until the solver's outcome, the budget's end, or a stop; then its knots join the path."""
        p, workspace = self.progress, self.workspace
        solver = self._mender(stretch) if stretch.repairs else self.plan.solver(stretch)
        start, end = stretch.start, stretch.start if stretch.open else stretch.end
        start = start if p.fresh.start is None else p.fresh.start
        state = solver.init(self.knots.get(start), self.knots.get(end))
        if self._resumed is not None and p.state is not None:
            state = self._loaded(solver, state, self._resumed)
        else:
            p.begun = workspace.steps
        self._resumed, self.solver, p.state = None, solver, asdict(state)
        while p.ended is None and self.workspace.remaining != 0:
            with self.workspace.clock.on("walking"):
                step = solver.step(state)
            state, p.state = step.state, asdict(step.state)
            p.ended = step.outcome.name if step.outcome else None
            if step.tick is not None:
                self._note(step.tick, stretch, step.knot)
        if p.ended is None and not stretch.repairs and p.cut is None:  # by the budget
            p.cut, self._kept = Cut.of(p), solver.save()
        self.solver = None
        rate = slower(p.rate, p.ended, self.workspace) if not stretch.repairs else None
        if rate is None:
            self.assembler.join(stretch, solver)
            if isinstance(solver, MovesEnd):
                move_end(self.assembler, self.start, solver.equivalent())
        else:
            self._begin_again(rate)

    def _loaded(self, solver: Solver, state: Any, tensors: Mapping[str, Tensor]) -> Any:
        """The solver's state as it was saved, its tensors loaded.

        Raises:
            RunError: it was edited.
        """
        fresh = solver.save()
        try:
            known = {name: (fresh[name], t) for name, t in tensors.items() if name in fresh}
            if odd := [k for k, (one, t) in known.items() if not _alike(one, t)]:
                raise ValueError(f"other shapes or types than the model has: {listed(odd)}")
            solver.load(tensors)
            return validated(type(state), {**asdict(state), **(self.progress.state or {})})
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            told = shortened(visible(str(error)), 300)
            raise RunError(
                f"what was saved of the search cannot be gone on with ({told}): it may have been edited"
            ) from error

    def _go_on(self, cut: Cut) -> None:
        """Search on from where a smaller budget ended it; what was put in place of the rest is forgotten."""
        p = self.progress
        self.knots.discard(sorted(int(knot) for knot in p.labels if knot not in cut.labels))
        for name, value in vars(cut).items():
            setattr(p, name, value)
        p.cut, p.ended, p.outcome, p.moved = None, None, None, None
        self._resumed, self._kept = self._kept, {}

    def _mender(self, stretch: Stretch) -> Solver:
        """What repairs a stretch."""
        assert self.plan.mend is not None
        chain = self.progress.chain
        own = chain[chain.index(stretch.start) : chain.index(stretch.end) + 1]
        return self.plan.mend(stretch, Chain(self.knots, own))

    def _begin_again(self, rate: Rate) -> None:
        """Search on from the last knot of the stretch, at another rate."""
        p, knots = self.progress, self.progress.fresh.knots
        p.fresh = Fresh(knots, len(knots), knots[-1] if knots else None, len(knots))
        p.rate, p.state, p.ended, p.begun = rate, None, None, self.workspace.steps
        self._bind(self.knots.get(0), self.knots.get(1))

    def _note(self, tick: Tick, stretch: Stretch, knot: bool) -> None:
        """Record a tick and its knot, tell the callbacks, and stop where one of them asks for it."""
        p = self.progress
        losses = {"first_loss": float(tick.first_loss), "settled_loss": float(tick.settled_loss)}
        told: Any = {**losses, "gap": float(tick.gap), "gradient_steps": self.workspace.steps}  # as files have them
        tick = replace(tick, stretch=p.round, leg=stretch.leg, **told)
        p.record.append(tick)
        if knot and self.solver is not None:
            self.assembler.keep(self.solver.knot(), stretch, tick)
        self._tell("on_tick", tick)
        if self.stop:
            raise InterruptedRun("stopped after a tick; everything so far is kept")

    def _measure(self) -> list[Row]:
        """Rows of the whole path, in order; what was measured before is not measured again."""
        p, options = self.progress, self.options
        found = places(p.chain, options.points)
        known = {place.name for place in (*found, *(places(p.before, options.points) if p.before else ()))}
        p.rows = {name: row for name, row in p.rows.items() if name in known}
        last = 1 if p.moved is None else p.moved.knot
        p.rows = {**ends_of_path(self._known_ends(), last), **p.rows}
        survey = Survey(self.workspace, Along(Chain(self.knots, p.chain)), p.rows, self.effort, self.goal.loss)
        with self.workspace.clock.on("measuring"):
            return survey.run(found, self._measured)

    def _known_ends(self) -> dict[str, Row]:
        """The ends of the path that were measured before it; a walk towards the origin ends elsewhere."""
        if self.progress.moved is not None:
            return {**{k: row for k, row in self._ends.rows.items() if k[0] == "A"}, **self.progress.moved.rows}
        return {name: row for name, row in self._ends.rows.items() if not (self._descends and name.startswith("B"))}

    def _measured(self, done: int, total: int) -> None:
        """Tell of segments; stop where a callback asks for it."""
        self._tell("on_measure", done, total)
        if self.stop:
            raise InterruptedRun("stopped while the path was measured; everything so far is kept")

    def _tell(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)


def _alike(fresh: Tensor, saved: Tensor) -> bool:
    """Whether a saved tensor may take the place of a fresh one; vectors may have another length in another phase."""
    same = (fresh.dtype, fresh.dim()) == (saved.dtype, saved.dim())
    return same and (fresh.dim() == 1 or fresh.shape == saved.shape)


def find_path(
    a: Weights | str | FilePath, b: Weights | str | FilePath, task: Task | str, method: Method | str = "llpf", *,
    max_loss: float | None = None, tolerance: float | None = None, budget: int | None = None, lr: float | None = None,
    momentum: float | None = None, batch_size: int | None = None, points: int = 4, sample: int | None = None,
    seed: int = 0, measure: str = "auto", compute: Compute | None = None, knots: Knots | None = None,
    callbacks: Sequence[Callback] = (), resume: Snapshot | None = None,
) -> Path:  # fmt: skip
    """Connect two trained networks of one architecture by a path of low training loss.

    The search stops when the whole path lies under the goal, or the repairs or the budget are used up; the path
    says in ``outcome`` and ``cost`` how far it got. The path starts exactly at ``a`` and ends exactly at ``b``.

    Args:
        a: model A, a state dict or a checkpoint file.
        b: model B, likewise.
        task: the network's model, objective and data; a `Task`, or a name or factory that `load_task` takes.
        method: a method such as ``LLPF(phases="stage")`` or ``SphereCurve(steps=200)``, or the name of one.
        max_loss: the goal: training loss that the path must not exceed.
        tolerance: the goal as a distance above the worse end's training loss [the task's].
        budget: gradient steps, repairs included [20,000; with a schedule, all that it may take].
        lr: the learning rate [found by a look at the straight line; with a schedule, the schedule's].
        momentum, batch_size: of SGD [the task's; with a schedule, the schedule's].
        points: points evaluated per segment.
        sample: training examples that the path is measured on, None for all.
        seed: for batches, augmentation and dropout.
        measure: ``auto`` looks at every place of the path on a drawn sample and measures on all data those that may
            hold the maximum, ``exact`` all of them.
        compute: device and precision.
        knots: where knots are kept (default: in memory).
        callbacks: called at every tick.
        resume: continue from this `Search.snapshot`; everything else must be as it was, ``knots`` included.

    Returns:
        The path, with what the search measured of it in ``path.quality``; ``measure(path, task)`` measures again.

    Raises:
        CheckpointError: a file cannot be read.
        MismatchError: the weights do not fit each other or the task's model, or hold NaN.
        TaskError: the task cannot be built.
        LLPFError: the goal lies below the loss of an end, or a setting makes no sense.

    Example:
        >>> path = find_path("a.pt", "b.pt", "digits/resnet", LLPF(phases="all"), max_loss=0.1)
        >>> quality = measure(path, "digits/resnet")
        >>> merged = quality.pick("best").weights
    """
    options = SearchOptions(max_loss, tolerance, budget, lr, momentum, batch_size, points, sample, seed, measure)
    task = load_task(task)
    pair = [w if isinstance(w, dict) else preflight.fitted(checkpoint.read(w), task.model).weights for w in (a, b)]
    full = preflight.check_pair(pair[0], pair[1], task.model)
    start, end = (
        clone(weights) if isinstance(given, dict) else weights for given, weights in zip((a, b), full, strict=True)
    )
    search = Search(start, end, task, make_method(method), options, compute, knots, callbacks, resume)
    search.warn()
    return search.run().path
