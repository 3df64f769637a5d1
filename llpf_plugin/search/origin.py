"""`walk_to_origin`: M2O by itself (paper, Algorithm 2), from a trained network down its variance spheres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from torch import Tensor

from llpf_plugin import checkpoint, preflight
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.knots import Knots
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.scale_groups import Unit, units
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.llpf import common_spheres as legs
from llpf_plugin.llpf.low_loss import PhaseRule
from llpf_plugin.llpf.plan import settle_rule
from llpf_plugin.llpf.scale_invariance import confirmed, proposed
from llpf_plugin.llpf.schedule import read_schedule
from llpf_plugin.methods.base import Finder, Outcome
from llpf_plugin.quality import Criterion, Quality
from llpf_plugin.search.find import Search
from llpf_plugin.search.progress import Callback, Stretch
from llpf_plugin.search.settings import Settings
from llpf_plugin.tasks.task import Task, load_task
from llpf_plugin.workspace import Compute


@dataclass
class OriginQuality(Quality):
    """What a path towards the origin is worth: it ends at no trained network, so only its loss is judged."""

    @classmethod
    def of(cls, found: Quality) -> "OriginQuality":
        """The same measurements, judged as those of a path towards the origin."""
        return cls(**{f.name: getattr(found, f.name) for f in fields(found)})

    @cached_property
    def variances(self) -> dict[str, float]:
        """The variance of every unit's matrix at the end over that at the start."""
        first, last = self.path.knots[0], self.path.knots[-1]
        moved = units(self.gradient.model, first)
        return {u.matrix: sphere.variance(last[u.matrix]) / sphere.variance(first[u.matrix]) for u in moved}

    def _arrived(self) -> Criterion:
        parts = self.variances.values()
        there = self.path.outcome in (None, Outcome.ARRIVED)
        words = f"at the end the layers have {min(parts):.3g} to {max(parts):.3g} of the variance that A has"
        return Criterion("descent", there, words)

    def _tested(self) -> Criterion:
        split = "test" if self.ends["A"].get("test") is not None else "validation"
        a, end = self.ends["A"].get(split), self.ends["B"].get(split)
        if a is None or end is None:
            return Criterion("test loss", None, "the task has neither test nor validation data")
        return Criterion("test loss", None, f"{split} loss is {end:.4g} at the end and {a:.4g} at A (no goal)")


class OriginSearch(Search):
    """A search whose only stretch leads towards the origin; it ends where it was told to, or where the loss is lost."""

    def __init__(
        self, a: Weights, task: Task, settings: Settings, to: float | Weights | None = None, ticks: int | None = None,
        compute: Compute | None = None, knots: Knots | None = None, callbacks: Sequence[Callback] = (),
    ) -> None:  # fmt: skip
        super().__init__(a, a, task, settings, compute, knots, callbacks)
        if isinstance(to, int | float) and not 0 <= to < 1:
            raise LLPFError(f"to = {to:g}: it is a part of the present variance, at least 0 and below 1")
        if ticks is not None and ticks < 1:
            raise LLPFError(f"ticks = {ticks}: it must be at least 1")
        self.to, self.ticks = to, ticks

    def run(self) -> Quality:
        """Walk, measure, repair; the end is the last knot that was reached."""
        return OriginQuality.of(super().run())

    def path(self) -> Path:
        """The path as it stands; its end is the start with the last knot's coordinates."""
        path = super().path()
        path.end = {**path.end, **path.knots[-1]}
        path.end |= {name: path.end[own] for name, own in path.ties.items() if name in path.end}
        return path

    def _route(self) -> legs.Route:
        start = self.knots.get(0)
        found = tuple(units(self.gradient.model, start))
        if not found:
            raise LLPFError("this network has no layer that can walk towards the origin: all its tensors are scales")
        here = {u.matrix: sphere.variance(start[u.matrix]) for u in found}
        if isinstance(self.to, Mapping):
            targets = {k: sphere.variance(self.to[k]) for k in here}
        else:
            targets = {k: v * (self.to or 0.0) for k, v in here.items()}
        scalable = proposed(self.task, found) if self.settings.exact_legs and any(targets.values()) else {}
        scalable = self._refuse_growth(start, here, targets, scalable)
        return legs.Route((0, 1), (Stretch(0, 1, 0, legs.ORIGIN, True),), found, targets, scalable)

    def _refuse_growth(
        self, start: Weights, here: Mapping[str, float], targets: Mapping[str, float], scalable: Mapping[str, Unit]
    ) -> dict[str, Unit]:
        """The units that may be scaled for nothing.

        Raises:
            LLPFError: another one lies on a smaller sphere than the one it is to walk to.
        """
        growing = [k for k, v in targets.items() if v > here[k] * legs.LEAST]
        slack = legs.EXACT_SLACK * self.levels.room
        free = confirmed(self.gradient, start, {k: u for k, u in scalable.items() if k in growing}, targets, slack)
        wrong = [k for k in growing if k not in free]
        if wrong:
            most = max(wrong, key=lambda k: targets[k] / here[k])
            raise LLPFError(
                f"{len(wrong)} layers lie on smaller variance spheres than those they are to walk to (first of all "
                f"{most}: {here[most]:.3g} to {targets[most]:.3g}). Towards a larger sphere the gradients explode "
                "(paper, section 4): swap the two ends, or join them with a path across spheres, which walks both down"
            )
        return {k: u for k, u in scalable.items() if k in free or k not in growing}

    def _finder(self, stretch: Stretch) -> Finder:
        if not stretch.open:
            return super()._finder(stretch)
        phases: tuple[PhaseRule, ...] = ()
        if self.settings.pace != "adaptive":
            rule = settle_rule(self.settings, self.task, self.levels)
            phases = read_schedule(self.settings.pace, self.task, rule)
        start = self.knots.get(stretch.start)
        return legs.descent(
            self.settings, self.gradient, self.levels, self.route, start, stretch.leg, phases, self.ticks
        )


def walk_to_origin(
    a: Weights | str | FilePath, task: Task | str, settings: Settings | None = None, *,
    to: float | Weights | str | FilePath | None = None, ticks: int | None = None, compute: Compute | None = None,
    knots: Knots | None = None, callbacks: Sequence[Callback] = (),
    resume: tuple[Mapping[str, Any], Mapping[str, Tensor]] | None = None, **options: Any,
) -> Path:  # fmt: skip
    """Walk from a trained network towards the origin along low training loss (paper, Algorithm 2).

    Layers with a variance sphere shrink, normalizations stay, and every layer's learning rate falls with its variance.
    The walk ends on the spheres it was told, after ``ticks``, when the budget is spent, or at the last knot whose loss
    could be held under the goal, whichever comes first; the path says which in ``outcome``.

    Args:
        a: model A, a state dict or a checkpoint file.
        task: as in `find_path`.
        settings: what is asked of the search; or give its fields as keyword arguments. ``pace`` may name a schedule.
        to: where it ends: a part of the variance that every layer has at the start, in (0, 1); or a model of the same
            architecture, whose spheres are meant; or None for the origin itself.
        ticks: the walk ends after this many.
        compute: device and precision.
        knots: where knots are kept (default: in memory).
        callbacks: called at every tick.
        resume: go on from this `Search.snapshot`; everything else must be as it was, ``knots`` included.
        **options: fields of `Settings`, e.g. ``max_loss=0.1``, the loss at which the walk stops.

    Returns:
        The path from A down; ``path.quality`` has what the search measured of it.

    Raises:
        LLPFError: a layer lies on a smaller sphere than the one it is to walk to, and scaling it is not free; or ``to``
            or ``ticks`` make no sense. And what `find_path` raises.

    Example:
        >>> path = walk_to_origin("a.pt", "digits/resnet", to="b.pt", max_loss=0.1)
        >>> path.quality.variances
    """
    task = load_task(task)
    if settings is not None and options:
        raise LLPFError(f"{', '.join(options)}: given beside settings; give one of the two")
    start = a if isinstance(a, dict) else checkpoint.read(a).weights
    preflight.raise_errors(preflight.fits(start, task.model, "A"))
    start = preflight.complete(start, task.model.state_dict())
    if isinstance(to, str | FilePath):
        to = checkpoint.read(to).weights
    if isinstance(to, dict):
        preflight.raise_errors(preflight.fits(to, task.model, "the network that 'to' names"))
        to = preflight.complete(to, task.model.state_dict())
    search = OriginSearch(start, task, settings or Settings(**options), to, ticks, compute, knots, callbacks)
    if resume is not None:
        search.resume(*resume)
    quality = search.run()
    quality.path.quality = quality
    return quality.path
