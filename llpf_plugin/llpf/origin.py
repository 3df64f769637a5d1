"""LLPF from a model towards the origin (M2O by itself): the plan of `Descent`."""

from collections.abc import Mapping
from functools import partial

from llpf_plugin.errors import LLPFError, ScheduleError
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.scale_groups import ScaleGroup, scale_groups
from llpf_plugin.llpf.common_spheres import LEAST, SLACK, Route, confirmed, descent, proposed
from llpf_plugin.llpf.method import Descent
from llpf_plugin.llpf.plan import leg_phase, schedule_of, settle_rule, slack_of, terms_of
from llpf_plugin.llpf.repair import Repair
from llpf_plugin.llpf.schedule import Phase, read_schedule
from llpf_plugin.methods.base import Plan, Problem, Stretch, Terms
from llpf_plugin.methods.rounds import most_steps
from llpf_plugin.records import ORIGIN
from llpf_plugin.tasks.task import Task


def plan(method: Descent, problem: Problem) -> Plan:
    """One open stretch, whose end is the last knot that is reached."""
    found, phases = route(method, problem), phases_of(method, problem)
    mend = partial(Repair, problem, method.llpf.correct)
    return Plan(
        lambda stretch: descent(method.llpf, problem, found, problem.start, phases), found.chain, found.stretches,
        mend, method.llpf.rounds, slack_of(method.llpf, problem), method.llpf.keep_knots,
    )  # fmt: skip


def phases_of(method: Descent, problem: Problem) -> tuple[Phase, ...]:
    """All layers at once with adaptive steps, or those of a schedule; none longer than ``ticks``."""
    if method.llpf.schedule is None:
        return (leg_phase(method.llpf, problem, ORIGIN, method.ticks),)
    rule = settle_rule(method.llpf, problem)
    return read_schedule(method.llpf.schedule, problem.workspace.task, rule).within(method.ticks).phases


def terms(method: Descent, task: Task) -> Terms:
    """What a schedule states, as far as ``ticks`` let it go.

    Raises:
        ScheduleError: it states what has no meaning without VarianceCorrection, or for layers that are scaled whole.
    """
    if method.llpf.schedule is None:
        return Terms()
    schedule = schedule_of(method.llpf, task).within(method.ticks)
    if schedule.correct is not None or any(p.control.moves != "tensors" for p in schedule.phases):
        raise ScheduleError(
            f"the schedule {method.llpf.schedule!r} states correct or moves, which are of walks between two models: "
            "take one that is for the walk towards the origin"
        )
    return terms_of(method.llpf, schedule, schedule.most + most_steps(method.llpf.rounds))


def route(method: Descent, problem: Problem) -> Route:
    """The one leg, and the spheres where it ends.

    Raises:
        TaskError: the model is in shards.
        LLPFError: nothing can walk, or a layer lies on a smaller sphere than the one it is to walk to.
    """
    problem.workspace.check_whole("a walk towards the origin")
    start, to = problem.start, method.to
    groups = tuple(scale_groups(problem.workspace.model, start))
    if not groups:
        raise LLPFError("this network has no layer that can walk towards the origin: all its tensors are scales")
    here = {g.matrix: sphere.variance(start[g.matrix]) for g in groups}
    if isinstance(to, Mapping):
        targets = {k: sphere.variance(to[k]) for k in here}
    else:
        targets = {k: v * (to or 0.0) for k, v in here.items()}
    free = proposed(problem.workspace.task, groups) if method.llpf.exact_legs and any(targets.values()) else {}
    free = _refuse_growth(problem, here, targets, free)
    return Route((0, 1), (Stretch(0, 1, ORIGIN, True),), groups, targets, free)


def _refuse_growth(
    problem: Problem, here: Mapping[str, float], targets: Mapping[str, float], free: Mapping[str, ScaleGroup]
) -> dict[str, ScaleGroup]:
    """The groups that may be scaled at no cost.

    Raises:
        LLPFError: another one lies on a smaller sphere than the one it is to walk to.
    """
    growing = [k for k, v in targets.items() if v > here[k] * LEAST]
    free_growing = {k: g for k, g in free.items() if k in growing}
    fine = confirmed(problem.workspace, problem.start, free_growing, targets, SLACK * problem.goal.room)
    wrong = [k for k in growing if k not in fine]
    if wrong:
        most = max(wrong, key=lambda k: targets[k] / here[k])
        raise LLPFError(
            f"layers on smaller variance spheres than those they are to walk to: {len(wrong)} (worst: {most}, "
            f"{here[most]:.3g} to {targets[most]:.3g}). Towards a larger sphere the gradients explode (paper, "
            "section 4): swap the two models, or connect them with a path across spheres, which walks both down"
        )
    return {k: g for k, g in free.items() if k in fine or k not in growing}
