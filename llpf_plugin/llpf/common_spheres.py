"""The legs of a path across variance spheres: A → A′ → B′ → B, which of them there are, and what each walks.

Per layer the common sphere is the smaller one of the two ends. The end on the larger sphere walks down to it, towards
the origin (M2O); then M2M joins the two; B's own leg is the same walk from B, its knots reversed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llpf_plugin.evaluation.goal import Levels
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.scale_groups import Unit, units
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.llpf.low_loss import PhaseRule
from llpf_plugin.llpf.origin import ON_SPHERE, SHARE, Origin
from llpf_plugin.llpf.pace import AdaptivePace
from llpf_plugin.llpf.plan import barrier_level, settle_rule
from llpf_plugin.llpf.scale_invariance import confirmed, proposed
from llpf_plugin.preflight import apart
from llpf_plugin.search.progress import Stretch
from llpf_plugin.search.settings import Settings
from llpf_plugin.workspace import Gradient

DOWN, JOIN, UP = "A → A′", "A′ → B′", "B′ → B"
"""Names of the legs, in the order of the path."""

ORIGIN = "A → origin"
"""The name of the only leg of a walk to the origin."""

LEAST = 1.02
"""Ratio of two variances under which a layer needs no leg: the projection bridges it."""

EXACT_SLACK = 0.01
"""What an exact leg may change of the training loss, in units of the room between the ends and the goal."""


@dataclass(frozen=True)
class Route:
    """What there is to walk at first.

    Attributes:
        chain: knots of the path before the first step; A is 0, B is 1, and A′ and B′ are reserved.
        todo: the stretches between them, in the order in which they are walked.
        units: what the legs move.
        targets: the common spheres: the variance of each unit's matrix there.
        proposed: units that the graph says may be scaled for nothing.
    """

    chain: tuple[int, ...] = (0, 1)
    todo: tuple[Stretch, ...] = (Stretch(0, 1),)
    units: tuple[Unit, ...] = ()
    targets: Mapping[str, float] = field(default_factory=dict)
    proposed: Mapping[str, Unit] = field(default_factory=dict)


def route(settings: Settings, gradient: Gradient, a: Weights, b: Weights) -> Route:
    """The legs from A to B that the settings ask for: one, or up to three where the ends lie on different spheres.

    Args:
        settings: ``across`` and ``correct``; without spheres there are no legs between them.
        gradient: whose task has the model.
        a: coordinates of A.
        b: coordinates of B.
    """
    schedule = settings.pace != "adaptive" and settings.across == "auto"  # walked to the letter
    walks = settings.method == "llpf" and settings.across != "never" and settings.correct != "none" and not schedule
    found = tuple(units(gradient.model, a)) if walks else ()
    here, there = ({u.matrix: sphere.variance(w[u.matrix]) for u in found} for w in (a, b))
    found = tuple(u for u in found if there[u.matrix] > 0)
    ratios = {u.matrix: _ratio(here[u.matrix], there[u.matrix]) for u in found}
    if settings.across == "auto":
        ratios = {k: ratio for k, ratio in ratios.items() if apart(ratio, a[k].numel())}
    if max(ratios.values(), default=1.0) <= LEAST:
        return Route()
    targets = {u.matrix: min(here[u.matrix], there[u.matrix]) for u in found}
    start, end = (
        own if any(variances[k] > LEAST * v for k, v in targets.items()) else None
        for own, variances in ((2, here), (3, there))
    )
    legs = [Stretch(i, own, 0, leg, True) for i, own, leg in ((0, start, DOWN), (1, end, UP)) if own is not None]
    join = Stretch(start or 0, end or 1, 0, JOIN)
    chain = tuple(i for i in (0, start, end, 1) if i is not None)
    return Route(chain, (*legs, join), found, targets, proposed(gradient.task, found) if settings.exact_legs else {})


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


def descent(
    settings: Settings, gradient: Gradient, levels: Levels, route: Route, start: Weights, leg: str,
    phases: Sequence[PhaseRule] = (), ticks: int | None = None,
) -> Origin:  # fmt: skip
    """The walk from ``start`` down to the spheres of the route.

    Args:
        settings: what the user asked for.
        gradient: on whose model the exact units are confirmed; it is left as it was.
        levels: losses of the ends, and the goal.
        route: units and spheres.
        start: coordinates of the leg's first knot.
        leg: its name.
        phases: of a fixed schedule (default: all units at once at an adaptive pace).
        ticks: the walk ends after this many.
    """
    far = {
        k: u
        for k, u in route.proposed.items()
        if route.targets[k] > 0 and _ratio(sphere.variance(start[k]), route.targets[k]) > 1 + ON_SPHERE
    }
    exact = confirmed(gradient, start, far, route.targets, EXACT_SLACK * levels.room)
    rule = settle_rule(settings, gradient.task, levels)
    own = PhaseRule(leg, None, AdaptivePace(barrier_level(settings, levels), SHARE), rule)
    return Origin(
        tuple(phases) or (own,), settings.correct, units=route.units, targets=route.targets,
        exact=tuple(exact.values()), angle_conformal=settings.angle_conformal, limit=levels.batch + levels.room,
        ticks=ticks,
    )  # fmt: skip


def leg_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The leg of the segment between two neighbouring knots, from their labels; empty where the path has one leg."""
    names = (before.get("leg", ""), after.get("leg", ""))
    for name, place in ((DOWN, 1), (UP, 0), (ORIGIN, 1)):
        if names[place] == name:
            return name
    return JOIN if any(names) else ""


def repair(settings: Settings, stretch: Stretch) -> tuple[Settings, Stretch]:
    """How a stretch above the goal is walked again: within a leg between spheres, on no sphere and always downwards."""
    if stretch.leg == UP:
        stretch = replace(stretch, start=stretch.end, end=stretch.start)
    return (replace(settings, correct="none") if stretch.leg in (DOWN, UP, ORIGIN) else settings), stretch


def summary(path: Any, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One mapping a leg: its name, outcome, gradient steps, knots, share of the length and maximum training loss.

    Args:
        path: a path across spheres; one of another kind has no legs.
        rows: its measured points, as in `Quality.rows`.
    """
    names = [leg_of(p, q) for p, q in zip(path.labels, path.labels[1:], strict=False)]
    lengths = path.segment_lengths
    walked = path.cost.get("legs", {})
    found = []
    for name in filter(None, dict.fromkeys(names)):
        own = [i for i, n in enumerate(names) if n == name]
        row = {"leg": name, **walked.get(name, {}), "knots": len(own) + 1}
        row["length"] = float(lengths[own].sum() / max(lengths.sum(), 1e-300))
        row["maximum"] = max(r["train"] for r in rows if names[r["segment"]] == name)
        found.append(row)
    return found
