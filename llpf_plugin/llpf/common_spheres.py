"""The legs of a path across variance spheres: A → A′ → B′ → B, which of them there are, and what each walks.

Per layer the common sphere is the smaller one of the two ends'. The end on the larger sphere walks down to it, towards
the origin (M2O); then M2M joins the two; B's own leg is the same walk from B, its knots reversed. Layers that may be
scaled at no cost, such as weights whose sole consumer is a normalization, go to their spheres in one step: the graph of
operations proposes them (`llpf_plugin.order.scaling`), a look at the loss confirms them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llpf_plugin.errors import OrderError
from llpf_plugin.evaluation.point import borrowed, train_loss
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.scale_groups import ScaleGroup, rescale_, scale_groups
from llpf_plugin.geometry.weights import Weights, clone
from llpf_plugin.llpf.directions import ToOrigin
from llpf_plugin.llpf.method import LLPF
from llpf_plugin.llpf.schedule import Phase
from llpf_plugin.llpf.walk import Walk
from llpf_plugin.methods.base import Problem, Stretch
from llpf_plugin.order import layer_order, scale_free
from llpf_plugin.preflight.statistics import apart
from llpf_plugin.records import DOWN, JOIN, UP
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Workspace

LEAST = 1.02
"""Ratio of two variances under which a layer needs no leg: the projection bridges it."""

SLACK, SAMPLE = 0.01, 512
"""What exact scaling may change of the training loss, in units of the room between the ends and the goal, and the
training examples that this is looked at on."""


@dataclass(frozen=True)
class Route:
    """What there is to walk.

    Attributes:
        chain: knots of the path before the first step; A is 0, B is 1, and A′ and B′ are reserved.
        stretches: between them, in the order in which they are walked.
        groups: what the legs move.
        targets: the common spheres: the variance of each group's matrix there.
        free: groups that the graph says may be scaled at no cost, by matrix.
    """

    chain: tuple[int, ...] = (0, 1)
    stretches: tuple[Stretch, ...] = (Stretch(0, 1),)
    groups: tuple[ScaleGroup, ...] = ()
    targets: Mapping[str, float] = field(default_factory=dict)
    free: Mapping[str, ScaleGroup] = field(default_factory=dict)


def route(method: LLPF, problem: Problem) -> Route:
    """The legs from A to B: one, or up to three where the ends lie on different variance spheres.

    Without spheres there are no legs between them; a schedule is walked to the letter unless ``across`` is ``always``.

    Raises:
        TaskError: there are legs, and the model is in shards.
    """
    a, b = problem.start, problem.end
    letter = method.schedule is not None and method.across == "auto"
    if method.across == "never" or method.correct == "none" or letter:
        return Route()
    groups = scale_groups(problem.workspace.model, a)
    here, there = ({g.matrix: sphere.variance(w[g.matrix]) for g in groups} for w in (a, b))
    groups = [g for g in groups if there[g.matrix] > 0]
    ratios = {g.matrix: _ratio(here[g.matrix], there[g.matrix]) for g in groups}
    if method.across == "auto":
        ratios = {k: ratio for k, ratio in ratios.items() if apart(ratio, a[k].numel())}
    if max(ratios.values(), default=1.0) <= LEAST:
        return Route()
    problem.workspace.check_whole("a path across variance spheres (-m across=never is without)")
    targets = {g.matrix: min(here[g.matrix], there[g.matrix]) for g in groups}
    start, end = (
        knot if any(variances[k] > LEAST * v for k, v in targets.items()) else None
        for knot, variances in ((2, here), (3, there))
    )
    legs = [Stretch(i, own, leg, True) for i, own, leg in ((0, start, DOWN), (1, end, UP)) if own is not None]
    join = Stretch(start or 0, end or 1, JOIN)
    chain = tuple(i for i in (0, start, end, 1) if i is not None)
    free = proposed(problem.workspace.task, groups) if method.exact_legs else {}
    return Route(chain, (*legs, join), tuple(groups), targets, free)


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


def descent(method: LLPF, problem: Problem, route: Route, start: Weights, phases: Sequence[Phase]) -> Walk:
    """The walk from ``start`` down to the spheres of the route.

    Args:
        method: what was asked for.
        problem: on whose model the free groups are confirmed; it is left as it was.
        route: groups and spheres.
        start: coordinates of the leg's first knot.
        phases: of the walk.
    """
    goal = problem.goal
    far = {
        k: g
        for k, g in route.free.items()
        if route.targets[k] > 0 and _ratio(sphere.variance(start[k]), route.targets[k]) > sphere.ON_SPHERE
    }
    exact = confirmed(problem.workspace, start, far, route.targets, SLACK * goal.room)

    def toward(weights: Weights, end: Weights) -> ToOrigin:
        return ToOrigin(weights, route.groups, route.targets, tuple(exact.values()), method.angle_conformal)

    return Walk(problem.workspace, phases, toward, keep_below=goal.batch + goal.room)


def proposed(task: Task, groups: Iterable[ScaleGroup]) -> dict[str, ScaleGroup]:
    """The groups that the graph of operations proposes to scale, by their matrix.

    A bias between the matrix and the normalization is scaled along; where that changes something and scaling the matrix
    alone does not (the direction of a weight-normalised layer), it is left out. A model that cannot be traced has none.
    """
    try:
        graph = layer_order(task.model, task.example_inputs()).graph
    except OrderError:
        return {}
    found: dict[str, ScaleGroup] = {}
    for group in groups if graph is not None else ():
        assert graph is not None
        if scale_free(graph, group.names):
            found[group.matrix] = group
        elif scale_free(graph, (group.matrix,)):
            found[group.matrix] = ScaleGroup(group.matrix, ())
    return found


def confirmed(
    workspace: Workspace, weights: Weights, groups: Mapping[str, ScaleGroup], targets: Mapping[str, float], slack: float
) -> dict[str, ScaleGroup]:
    """The groups for which the scaling changes the training loss by at most ``slack``; the model stays as it was.

    All are scaled together first; if that changes the loss, one after the other.

    Args:
        workspace: whose model, data and device.
        weights: coordinates of the point to be scaled.
        groups: as `proposed`.
        targets: the variance that each group's matrix is to have.
        slack: in units of the loss.
    """
    if not groups:
        return {}
    with borrowed(workspace):
        before = train_loss(workspace, weights, SAMPLE)

        def same(some: Mapping[str, ScaleGroup]) -> bool:
            after = clone(weights)
            rescale_(after, list(some.values()), targets)
            return abs(train_loss(workspace, after, SAMPLE) - before) <= slack

        return dict(groups) if same(groups) else {k: group for k, group in groups.items() if same({k: group})}
