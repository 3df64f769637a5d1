"""From LLPF's settings to walks: phases, step control and settling, with the losses of the ends taken into account."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from llpf_plugin.errors import LLPFError, OrderError
from llpf_plugin.evaluation.goal import Goal
from llpf_plugin.geometry.weights import coordinates
from llpf_plugin.llpf.common_spheres import descent, route
from llpf_plugin.llpf.directions import ToModel
from llpf_plugin.llpf.method import LLPF
from llpf_plugin.llpf.repair import Repair
from llpf_plugin.llpf.schedule import Phase, Schedule, read_schedule
from llpf_plugin.llpf.settling import SettleRule
from llpf_plugin.llpf.step_control import Backtracking
from llpf_plugin.llpf.walk import Walk
from llpf_plugin.methods.base import BUDGET, Plan, Problem, Solver, Stretch, Terms
from llpf_plugin.methods.rounds import most_steps
from llpf_plugin.order import LayerOrder, layer_order
from llpf_plugin.order import Phase as Slice
from llpf_plugin.order import phases as cut_phases
from llpf_plugin.records import UP
from llpf_plugin.tasks.task import Task

WINDOW = 10
"""Mini-batches in the rolling mean of a settling with adaptive steps, where it takes at least as many."""

THRESHOLD, REJECT = 0.5, 3.0
"""Where settling ends and where a move is rejected, in units of the room between the ends' loss and the goal."""

LOOSE = (2.0, 10.0)
"""The same of a walk whose path is repaired: a coarse walk and training what is high take fewer steps than a fine one
(docs/repairs.md)."""

COARSE, COARSEST = 1 / 16, 8.0
"""A walk whose path is repaired is as coarse as if the goal were at least at this part of the barrier; by that it is at
most so many times as coarse."""

GIVES_WAY = 0.25
"""With phases ``auto``: the part of the first share at which moving all layers at once ends, so that what is left
of the way is trained as a curve, or gives way to FDF phases."""

MOST = 8
"""With phases ``auto``: neighbouring stages are merged to at most so many, balanced by their layers."""

SHARE = 0.05
"""The first tick's share of the distance to the origin."""

Slices = Mapping[str, frozenset[str]]
"""The coordinates of each phase's own slice of the order, by the phase's name, in order."""


def plan(method: LLPF, problem: Problem) -> Plan:
    """The walk from A to B, by common spheres where that is needed; see `Plan`."""
    method = _corrected(method, problem.workspace.traceable)
    found = route(method, problem)
    cut = cut_slices(method, problem.workspace.traceable)
    slices = {name: walks for name, own in cut.items() if (walks := own & problem.start.keys())} or cut
    walk_phases(method, problem, slices)  # what makes no sense is refused before anything is written

    def solver(stretch: Stretch) -> Solver:
        if stretch.open:
            start = problem.end if stretch.leg == UP else problem.start
            return descent(method, problem, found, start, (leg_phase(method, problem, stretch.leg),))
        return walk(method, problem, slices)

    mend = partial(Repair, problem, method.correct)
    return Plan(solver, found.chain, found.stretches, mend, method.rounds, slack_of(method, problem), method.keep_knots)


def terms(method: LLPF, task: Task) -> Terms:
    """What a schedule states: its steps at least, and at most, repairs of one stretch included.

    Raises:
        LLPFError: a setting contradicts the schedule's file.
    """
    if method.schedule is None:
        return Terms()
    _corrected(method, task)
    schedule = schedule_of(method, task)
    legs = BUDGET if method.across == "always" else 0
    return terms_of(method, schedule, legs + schedule.most + most_steps(method.rounds))


def terms_of(method: LLPF, schedule: Schedule, budget: int) -> Terms:
    """The terms of a schedule, by the name that the method has for it."""
    return Terms(f"the schedule {method.schedule!r}", schedule.stated, schedule.least, budget)


def schedule_of(method: LLPF, task: Task) -> Schedule:
    """The schedule of a method that has one; where its file names no threshold, that is not a number."""
    return read_schedule(method.schedule or "", task, SettleRule(math.nan, method.min_steps, method.max_steps))


def _corrected(method: LLPF, task: Task) -> LLPF:
    """The method, its corrected tensors those that its schedule states.

    Raises:
        LLPFError: the method was told of others.
    """
    stated = None if method.schedule is None else schedule_of(method, task).correct
    if stated is None or stated == method.correct:
        return method
    if method.correct != LLPF.correct:
        told = f"llpf: correct = {method.correct!r}, but the schedule {method.schedule!r} states {stated!r}"
        raise LLPFError(f"{told}; leave it out, or edit a copy")
    return replace(method, correct=stated)


def slack_of(method: LLPF, problem: Problem) -> float:
    """Loss that dropping a knot may cost."""
    return problem.goal.room / 20 if method.thin is None else method.thin


def walk(method: LLPF, problem: Problem, slices: Slices) -> Walk:
    """The walk between two models."""
    return Walk(problem.workspace, walk_phases(method, problem, slices), partial(ToModel, correct=method.correct))


def walk_phases(method: LLPF, problem: Problem, slices: Slices) -> tuple[Phase, ...]:
    """The phases of a walk.

    Args:
        method: what was asked for.
        problem: whose task's defaults and losses fill what was not.
        slices: of the layer order; more than one are walked cumulatively, with all layers last.
    """
    low, high = loose_levels(problem.goal) if method.rounds else (THRESHOLD, REJECT)
    rule = settle_rule(method, problem, THRESHOLD if method.schedule else low)
    if method.schedule is not None:
        return read_schedule(method.schedule, problem.workspace.traceable, rule).phases
    level = reject_above(method, problem.goal, high)
    control = Backtracking(level, method.share, min(Backtracking.min_share, method.share))
    control = replace(control, max_share=max(method.share, control.max_share))
    everything = frozenset().union(*slices.values())
    at_once = Phase("all", everything, control, rule)
    if _trains_the_rest(method) or (method.phases == "auto" and len(slices) > 1):
        at_once = replace(at_once, control=replace(control, gives_way=GIVES_WAY * method.share))
    if len(slices) == 1:
        return (at_once,)
    phases, active = [at_once] if method.phases == "auto" else [], frozenset[str]()
    for name, own in slices.items():
        active |= own
        phases.append(Phase(name, active, control, rule))
    return tuple(phases)


def _trains_the_rest(method: LLPF) -> bool:
    """Whether what is left of a walk that stalls with all layers at once is trained, rather than walked in phases.

    Whoever gives levels of his own wants a walk that keeps to them, also where its path is under the goal already.
    """
    own = method.threshold or method.reject_above or method.order != "fdf"
    return method.phases == "auto" and method.rounds > 0 and not own


def loose_levels(goal: Goal) -> tuple[float, float]:
    """Where settling ends and a move is rejected, in units of the room, in a walk whose path is repaired."""
    low, high = LOOSE
    factor = min(max(1.0, COARSE * goal.barrier / goal.room), COARSEST)
    return low * factor, high * factor


def settle_rule(method: LLPF, problem: Problem, part: float = THRESHOLD) -> SettleRule:
    """How settling ends: by default at ``part`` of the room above the ends' mini-batch loss."""
    goal = problem.goal
    threshold = method.threshold or goal.batch + part * goal.room
    window = min(WINDOW, method.min_steps)
    return SettleRule(threshold, method.min_steps, method.max_steps, window, problem.lr, problem.momentum)


def reject_above(method: LLPF, goal: Goal, part: float = REJECT) -> float:
    """The mini-batch loss that rejects a move: by default ``part`` times the room above the ends'."""
    return method.reject_above or goal.batch + part * goal.room


def cut_slices(method: LLPF, task: Task) -> Slices:
    """The phases that were asked for, in the order in which data reach the model's layers.

    ``auto`` has none where what is left of a stalled walk is trained.

    Raises:
        OrderError: an unknown mode, an order of another model, or patterns that do not match it.
    """
    everything = frozenset(coordinates(task.model))
    if method.phases == "all" or method.schedule is not None or _trains_the_rest(method):
        return {"all": everything}
    try:
        order = read_order(method.order, task)
    except OrderError as error:
        if method.phases != "auto" or method.order != "fdf":
            raise
        warnings.warn(f"layer order unavailable; moving all layers at once: {error}", stacklevel=2)
        return {"all": everything}
    phases = cut_order(order, method.phases)
    return {p.name: frozenset(k for n in p.layers for k in order[n].parameters) & everything for p in phases}


def cut_order(order: LayerOrder, phases: str | int) -> tuple[Slice, ...]:
    """The phases of an order as `LLPF` names them; ``auto`` are stages, merged to `MOST` where there are more."""
    return cut_phases(order, "stage", MOST) if phases == "auto" else cut_phases(order, phases)


def read_order(which: str | LayerOrder, task: Task) -> LayerOrder:
    """The task's layer order: ``fdf``, one that was derived before, or a file's.

    Raises:
        OrderError: it is of another model, or the file does not exist.
    """
    if which == "fdf":
        return layer_order(task.model, task.example_inputs())
    if isinstance(which, str) and not Path(which).is_file():
        raise OrderError(f"order {which!r}: it must be fdf, or a JSON file that llpf order wrote")
    order = LayerOrder.from_json(Path(which).read_text(encoding="utf-8")) if isinstance(which, str) else which
    stored = {k for layer in order.layers for k in layer.parameters}
    own = {k for k, _ in task.model.named_parameters()}
    if stored != own:
        odd = ", ".join(sorted(stored ^ own)[:5])
        raise OrderError(f"the layer order is of another model ({order.model}): only one of the two has {odd}")
    return order


def leg_phase(method: LLPF, problem: Problem, leg: str, ticks: int | None = None) -> Phase:
    """The one phase of a leg towards the origin: all groups at once, with adaptive steps.

    Its share is one of what is left, and where it ends is not a destination that the learning rate must fall for.
    """
    level = reject_above(method, problem.goal)
    control = Backtracking(level, SHARE, anneal_below=0.0, hand_over=0.0, ticks=ticks)
    return Phase(leg, frozenset(coordinates(problem.workspace.model)), control, settle_rule(method, problem))
