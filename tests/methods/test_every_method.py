"""One table of tests that every finder enters: what the loop relies on."""

import io
import json
from dataclasses import asdict
from functools import cache
from typing import Any

import pytest
import torch
from helpers import tiny
from llpf_plugin.llpf.low_loss import LowLoss, PhaseRule
from llpf_plugin.llpf.pace import AdaptivePace, FixedPace
from llpf_plugin.methods.linear import Linear

from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.geometry.weights import Weights, clone, coordinates, select
from llpf_plugin.llpf.settle import SettleRule
from llpf_plugin.methods.autoneb import AutoNEB
from llpf_plugin.methods.base import Finder, Leg, Outcome
from llpf_plugin.methods.curve import Curve
from llpf_plugin.methods.finetune import Finetune
from llpf_plugin.workspace import Gradient

SETTLE = SettleRule(0.15, min_steps=2, max_steps=6, lr=0.05)
MOMENTUM = SettleRule(0.1, min_steps=3, max_steps=8, lr=0.02, momentum=0.9)
FIRST = {"mlp": {"0.weight", "0.bias"}, "conv": {"conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"}}


def fixed(name: str) -> Finder:
    rule = StepRule(step_c=0.01, step_f=0.15)
    return LowLoss((PhaseRule("all", None, FixedPace(8, rule), SETTLE),))


def adaptive(name: str) -> Finder:
    return LowLoss((PhaseRule("all", None, AdaptivePace(1.0, share=0.1), MOMENTUM),), "all")


def phased(name: str) -> Finder:
    first = PhaseRule("first", frozenset(FIRST[name]), FixedPace(5, StepRule(step_a=0.3)), SETTLE)
    return LowLoss((first, PhaseRule("all", None, AdaptivePace(1.0, share=0.2), MOMENTUM)))


def two_sided(name: str) -> Finder:
    first = PhaseRule("first", frozenset(FIRST[name]), AdaptivePace(1.0, share=0.2), MOMENTUM)
    return LowLoss((first, PhaseRule("all", None, AdaptivePace(1.0, share=0.2), MOMENTUM)), two_sided=True)


def bezier(name: str) -> Finder:
    return Curve("bezier", 37, weight_decay=1e-4, pieces=6)


def sphere_curve(name: str) -> Finder:
    return Curve("sphere-curve", 30, control=2, correct="matrices", lr=0.05, pieces=6, spread=True)


def adam_curve(name: str) -> Finder:
    return Curve("sphere-curve", 30, correct="all", optimizer="adam", lr=0.01, pieces=6)


def chain(name: str) -> Finder:
    return Curve("polish", 120, "chain", 3, pieces=4, target=0.4)


def autoneb(name: str) -> Finder:
    return AutoNEB(90, lr=0.05)


def finetune(name: str) -> Finder:
    return Finetune(42, lr=0.02)


def linear(name: str) -> Finder:
    return Linear()


WALKS = {
    "low loss, fixed": fixed,
    "low loss, adaptive": adaptive,
    "low loss, phases": phased,
    "low loss, two-sided": two_sided,
}
CURVES = {
    "bezier": bezier, "sphere curve": sphere_curve, "sphere curve, adam": adam_curve, "chain": chain,
    "autoneb": autoneb,
}  # fmt: skip
TRAINED = {**CURVES, "finetune": finetune}
FINDERS = {**WALKS, **TRAINED, "linear": linear}

every_finder = pytest.mark.parametrize("make", FINDERS.values(), ids=FINDERS)
every_task = pytest.mark.parametrize("name", tiny.TASKS)


class Run:
    """A finder on a tiny task, from the start to its outcome."""

    def __init__(self, make: Any, name: str, seed: int = 0, budget: int | None = None) -> None:
        task = tiny.TASKS[name]()
        self.gradient = Gradient(task, seed=seed)
        self.gradient.budget = budget
        names = list(coordinates(task.model))
        self.a, self.b = (select(w, names) for w in tiny.pair(name))
        self.finder: Finder = make(name)
        self.work, self.state = self.finder.init(Leg(self.gradient, self.a, self.b))
        self.knots: list[Weights] = []
        self.reports: list[dict[str, Any]] = []

    def tick(self) -> None:
        step = self.finder.step(self.work, self.state)
        self.state = step.state
        self.reports.append(dict(step.report))
        if step.knot:
            self.knots.append(self.finder.knot(self.work))

    def finish(self, ticks: int = 200) -> "Run":
        while self.state.outcome is None and len(self.reports) < ticks and self.gradient.remaining != 0:
            self.tick()
        return self

    @property
    def path(self) -> list[Weights]:
        return [self.a, *self.knots, *self.finder.closing(self.work, self.state)]


@cache
def whole_run(make: Any, name: str) -> Run:
    """The run that nothing interrupts; not to be changed."""
    return Run(make, name).finish()


def same_run(one: Run, other: Run) -> bool:
    knots = len(one.path) == len(other.path) and all(tiny.same(x, y) for x, y in zip(one.path, other.path, strict=True))
    return knots and one.reports == other.reports and one.state == other.state


@every_finder
@every_task
def test_both_ends_are_kept_bit_for_bit(make: Any, name: str) -> None:
    run = whole_run(make, name)
    a, b = tiny.pair(name)
    assert tiny.same(run.path[0], select(a, run.a)) and tiny.same(run.path[-1], select(b, run.a))


@pytest.mark.parametrize("make", WALKS.values(), ids=WALKS)
@every_task
def test_a_walk_arrives(make: Any, name: str) -> None:
    run = whole_run(make, name)
    assert run.state.outcome == Outcome.ARRIVED.name and len(run.knots) > 2


@pytest.mark.parametrize("make", TRAINED.values(), ids=TRAINED)
@every_task
def test_what_is_trained_takes_all_of_its_steps_or_comes_under_its_target(make: Any, name: str) -> None:
    run = whole_run(make, name)
    wanted = run.finder.steps  # type: ignore[attr-defined]
    if run.state.outcome == Outcome.LOW.name:
        assert make is chain and run.gradient.steps < wanted
    else:
        assert run.state.outcome == Outcome.TRAINED.name and run.gradient.steps == wanted


@pytest.mark.parametrize("make", CURVES.values(), ids=CURVES)
@every_task
def test_a_curve_is_its_closing_and_the_model_stays_at_the_start(make: Any, name: str) -> None:
    run = whole_run(make, name)
    assert run.knots == [] and len(run.path) >= 5 and tiny.same(run.finder.knot(run.work), run.a)


@every_finder
@every_task
def test_init_stands_on_the_start(make: Any, name: str) -> None:
    run = Run(make, name)
    assert tiny.same(run.finder.knot(run.work), run.a)
    assert run.gradient.steps == 0 and run.state.outcome == ("STRAIGHT" if make is linear else None)


@every_finder
@every_task
def test_inputs_are_not_touched(make: Any, name: str) -> None:
    run = Run(make, name)
    before = clone(run.a), clone(run.b)
    run.finish()
    assert tiny.same(run.a, before[0]) and tiny.same(run.b, before[1])


@pytest.mark.parametrize("make", {**WALKS, "finetune": finetune}.values())
@every_task
def test_a_knot_is_a_copy_that_later_ticks_do_not_change(make: Any, name: str) -> None:
    run = Run(make, name)
    run.tick()
    taken, copy = run.knots[0], clone(run.knots[0])
    run.finish()
    assert tiny.same(taken, copy) and not tiny.same(taken, run.knots[-1])


@every_finder
@every_task
def test_same_seed_same_bits(make: Any, name: str) -> None:
    assert same_run(Run(make, name).finish(), whole_run(make, name))


@pytest.mark.parametrize("make", {**WALKS, **TRAINED}.values(), ids=[*WALKS, *TRAINED])
def test_another_seed_is_another_walk(make: Any) -> None:
    assert not same_run(whole_run(make, "conv"), Run(make, "conv", seed=1).finish())


@every_finder
@every_task
@pytest.mark.parametrize("stop", [0, 1, 6])
def test_resumed_mid_way_it_ends_with_the_same_bits(make: Any, name: str, stop: int) -> None:
    whole = whole_run(make, name)
    first = Run(make, name)
    while len(first.reports) < stop and first.state.outcome is None:
        first.tick()
    values, disk = json.dumps(asdict(first.state)), io.BytesIO()
    torch.save(first.finder.save(first.work), disk)
    disk.seek(0)

    second = Run(make, name)
    second.tick()  # the workspace need not be fresh
    second.gradient.steps, second.knots, second.reports = first.gradient.steps, first.knots, first.reports
    second.finder.load(second.work, torch.load(disk, weights_only=True))
    second.state = second.finder.state_from(json.loads(values))
    assert same_run(second.finish(), whole)
    assert second.gradient.steps == whole.gradient.steps


@every_finder
@every_task
@pytest.mark.parametrize("budget", [1, 7])
def test_the_budget_of_gradient_steps_is_kept(make: Any, name: str, budget: int) -> None:
    run = Run(make, name, budget=budget).finish()
    free = whole_run(make, name)
    assert run.gradient.steps == min(budget, free.gradient.steps)
    assert all(p.isfinite().all() for knot in run.path for p in knot.values())
    assert tiny.same(run.path[-1], run.b)


@every_finder
@every_task
def test_every_gradient_step_is_reported(make: Any, name: str) -> None:
    run = whole_run(make, name)
    assert sum(r["steps"] for r in run.reports) == run.gradient.steps
    assert (run.gradient.steps > 0) is (make is not linear)


@every_finder
@every_task
def test_state_and_report_survive_json(make: Any, name: str) -> None:
    run = Run(make, name)
    run.tick()
    assert run.finder.state_from(json.loads(json.dumps(asdict(run.state)))) == run.state
    assert json.loads(json.dumps(run.reports)) == run.reports


@every_finder
def test_the_finder_itself_never_changes(make: Any) -> None:
    run = Run(make, "mlp")
    before = repr(run.finder)
    run.finish()
    assert repr(run.finder) == before
