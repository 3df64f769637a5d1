"""The walk, against a slow and literal version of Algorithm 1 and against numbers worked by hand."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers import tiny
from llpf_plugin.llpf.low_loss import LowLoss, PhaseRule
from llpf_plugin.llpf.pace import AdaptivePace, FixedPace
from torch import Tensor, nn

from llpf_plugin import Task
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.geometry.weights import Weights, clone, coordinates, distance, select
from llpf_plugin.llpf.settle import Settled, SettleRule
from llpf_plugin.llpf.walk import Walk, WalkState
from llpf_plugin.methods.base import Leg, Outcome
from llpf_plugin.workspace import Gradient

PAPER = SettleRule(threshold=0.05, min_steps=2, max_steps=5, lr=0.05)


def walk(name: str, finder: LowLoss, task: Task | None = None) -> tuple[LowLoss, Walk, WalkState]:
    """A walk between the two trained networks of a tiny task, before its first tick."""
    task = task or tiny.TASKS[name]()
    names = list(coordinates(task.model))
    a, b = (select(w, names) for w in tiny.pair(name))
    return finder, *finder.init(Leg(Gradient(task, seed=3), a, b))


# A slow, literal version of Algorithm 1 -------------------------------------------------------------------------------


def variance_correction(p: Tensor, v: Tensor) -> Tensor:
    mean = p.mean()
    var = ((p - mean) ** 2).mean()
    return mean + torch.sqrt(v / var) * (p - mean)


def algorithm_1(
    task: Task, a: Weights, b: Weights, phases: tuple[PhaseRule, ...], seed: int
) -> Iterator[tuple[Weights, int]]:
    """The knots of the paper's walk, and the gradient steps so far: one copy of everything after the other."""
    v = {k: ((p - p.mean()) ** 2).mean() for k, p in a.items()}
    corrected = [k for k, p in a.items() if p.dim() >= 2]
    destination = {k: variance_correction(d, v[k]) if k in corrected else d for k, d in b.items()}
    knot, steps = copy.deepcopy(a), 0
    for phase in phases:
        gap_0 = {k: torch.linalg.norm(destination[k] - knot[k]) for k in knot}
        for _ in range(phase.pace.ticks):
            rule = phase.pace.rule
            weights = {}
            for k, p in knot.items():
                gap = torch.linalg.norm(destination[k] - p)
                length = torch.minimum(gap, torch.maximum(rule.step_c + rule.step_f * gap_0[k], rule.step_a * gap))
                moves = (phase.active is None or k in phase.active) and gap > 0
                weights[k] = p + length * (destination[k] - p) / gap if moves else p
            weights = {k: variance_correction(p, v[k]) if k in corrected else p for k, p in weights.items()}
            losses: list[float] = []
            window = min(phase.settle.window, phase.settle.min_steps)
            while len(losses) < phase.settle.max_steps:
                inputs, targets = task.train.batch(task.defaults.batch_size, seed, steps)
                held = {k: p.clone().requires_grad_() for k, p in weights.items()}
                loss = F.cross_entropy(torch.func.functional_call(task.model.train(), held, (inputs,)), targets)
                slopes = torch.autograd.grad(loss, list(held.values()))
                weights = {k: p.detach() - phase.settle.lr * g for (k, p), g in zip(held.items(), slopes, strict=True)}
                losses.append(float(loss.detach()))
                steps += 1
                if len(losses) >= phase.settle.min_steps and sum(losses[-window:]) / window <= phase.settle.threshold:
                    break
            weights = {k: variance_correction(p, v[k]) if k in corrected else p for k, p in weights.items()}
            knot = copy.deepcopy(weights)
            yield knot, steps


SCHEDULES = {
    "all at once": (PhaseRule("all", None, FixedPace(14, StepRule(step_c=0.05, step_a=0.1)), PAPER),),
    "three rules": (PhaseRule("all", None, FixedPace(14, StepRule(0.02, 0.05, 0.03)), PAPER),),
    "to the destination": (PhaseRule("all", None, FixedPace(6, StepRule(step_f=0.25)), PAPER),),
    "two phases": (
        PhaseRule("first", frozenset({"0.weight", "0.bias"}), FixedPace(5, StepRule(step_a=0.2)), PAPER),
        PhaseRule("all", None, FixedPace(5, StepRule(step_f=0.2)), replace(PAPER, lr=0.02, max_steps=3, threshold=0.1)),
    ),
    "a long window": (
        PhaseRule("all", None, FixedPace(5, StepRule(step_a=0.2)), replace(PAPER, min_steps=12, max_steps=20)),
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_every_tick_is_that_of_the_literal_algorithm(schedule: tuple[PhaseRule, ...]) -> None:
    finder, work, state = walk("mlp", LowLoss(schedule))
    slow = tiny.mlp()
    a, b = tiny.pair("mlp")
    for knot, steps in algorithm_1(slow, a, b, schedule, seed=3):
        step = finder.step(work, state)
        state = step.state
        assert step.knot and work.gradient.steps == steps
        for k, p in work.weights.items():
            assert torch.allclose(p, knot[k], rtol=1e-4, atol=2e-5), (state.phase, state.tick, k)
    assert state.outcome == (Outcome.ARRIVED if work.near() else Outcome.SHORT).name


def test_the_literal_algorithm_with_convolutions_and_batch_norm() -> None:
    def without_dropout() -> Task:
        task = tiny.conv()
        task.model.dropout.p = 0.0
        return task

    schedule = (PhaseRule("all", None, FixedPace(8, StepRule(step_f=0.125)), replace(PAPER, lr=0.01)),)
    finder, work, state = walk("conv", LowLoss(schedule), without_dropout())
    names = list(work.weights)
    a, b = (select(w, names) for w in tiny.pair("conv"))
    for knot, steps in algorithm_1(without_dropout(), a, b, schedule, seed=3):
        state = finder.step(work, state).state
        assert work.gradient.steps == steps
        assert all(torch.allclose(work.weights[k], knot[k], rtol=1e-3, atol=1e-4) for k in names)


# What holds on every walk ---------------------------------------------------------------------------------------------

ADAPTIVE = LowLoss((PhaseRule("all", None, AdaptivePace(barrier=2.0, share=0.2), SettleRule(0.2, lr=0.05)),))


@pytest.mark.parametrize("correct", ["matrices", "all", "none"])
def test_every_knot_is_on_the_spheres_of_the_start(correct: sphere.Correct) -> None:
    finder, work, state = walk("conv", replace(ADAPTIVE, correct=correct))
    start = clone(work.weights)
    held = {k for k, p in start.items() if correct == "all" or (correct == "matrices" and p.dim() >= 2)}
    held = {k for k in held if sphere.has_sphere(start[k])}
    assert set(work.spheres) == held
    while state.outcome is None:
        state = finder.step(work, state).state
        for k in held:
            assert sphere.check(work.weights[k], sphere.variance(start[k]))
            assert sphere.check(work.destination[k], sphere.variance(start[k]))
    free = [k for k in start if k not in held]
    assert correct == "all" or any(
        abs(sphere.variance(work.weights[k]) - sphere.variance(start[k])) > 1e-3 for k in free
    )


def test_what_is_not_active_settles_but_does_not_move() -> None:
    still = SettleRule(math.inf, min_steps=1, max_steps=1, lr=0.0)
    rule = PhaseRule("first", frozenset({"0.weight", "0.bias"}), FixedPace(1, StepRule(step_f=1.0)), still)
    finder, work, state = walk("mlp", LowLoss((rule,)))
    before = clone(work.weights)
    finder.step(work, state)
    assert tiny.same(select(work.weights, ["2.weight", "2.bias"]), select(before, ["2.weight", "2.bias"]))
    for k in ("0.weight", "0.bias"):
        assert torch.allclose(work.weights[k], work.destination[k], rtol=1e-6, atol=1e-7)


def test_the_walk_happens_in_the_model_itself() -> None:
    finder, work, state = walk("conv", ADAPTIVE)
    places = {k: p.data_ptr() for k, p in work.gradient.model.named_parameters()}
    finder.step(work, state)
    assert {k: p.data_ptr() for k, p in work.gradient.model.named_parameters()} == places
    assert all(work.weights[k].data_ptr() == place for k, place in places.items())


def test_the_closing_knots_are_the_projected_end_and_the_end_itself() -> None:
    finder, work, state = walk("mlp", ADAPTIVE)
    end = tiny.pair("mlp")[1]
    projected, last = finder.closing(work, state)
    assert tiny.same(last, end)
    for k, d in projected.items():
        expected = variance_correction(end[k], torch.tensor(work.spheres[k])) if k in work.spheres else end[k]
        assert torch.allclose(d, expected, rtol=1e-5, atol=1e-7)


def test_arrival_is_near_the_destination_and_not_by_momentum_past_it() -> None:
    finder = LowLoss((replace(ADAPTIVE.phases[0], settle=SettleRule(0.2, lr=0.05, momentum=0.9)),))
    finder, work, state = walk("mlp", finder)
    start = distance(work.weights, work.destination)
    while state.outcome is None:
        state = finder.step(work, state).state
    assert state.outcome == "ARRIVED" and distance(work.weights, work.destination) < 0.05 * start


def test_the_report_says_what_happened() -> None:
    finder, work, state = walk("mlp", ADAPTIVE)
    gap = distance(work.weights, work.destination)
    report = finder.step(work, state).report
    assert report["phase"] == "all" and report["tick"] == 0 and report["share"] == 0.2 and report["kept"]
    assert report["gap"] == pytest.approx(gap, rel=1e-5) and report["steps"] == work.gradient.steps
    assert state.gap == pytest.approx(gap, rel=1e-5)


# Undo, shrink, give up ------------------------------------------------------------------------------------------------


def failing(task: Task, value: float, after: int = 0) -> Task:
    """The task, its training loss replaced by ``value`` once it was asked for so many times in train mode."""
    calls = 0

    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal calls
        loss, correct = task.objective(model, batch)
        calls += model.training
        return (loss * 0 + value if model.training and calls > after else loss), correct

    return replace(task, objective=objective)


def run(finder: LowLoss, work: Walk, state: WalkState, ticks: int = 200) -> tuple[WalkState, list[dict]]:
    reports = []
    while state.outcome is None and len(reports) < ticks:
        step = finder.step(work, state)
        state = step.state
        reports.append({**step.report, "knot": step.knot})
    return state, reports


def test_over_the_barrier_the_move_is_undone_and_the_share_halved() -> None:
    finder, work, state = walk("mlp", ADAPTIVE, failing(tiny.mlp(), 5.0))
    before = clone(work.weights)
    step = finder.step(work, state)
    assert not step.knot and not step.report["kept"] and step.report["steps"] == 1
    assert tiny.same(work.weights, before)
    assert step.state.share == 0.1 and step.state.outcome is None


def test_a_walk_that_never_gets_under_the_barrier_collapses() -> None:
    finder, work, state = walk("mlp", replace(ADAPTIVE, patience=3), failing(tiny.mlp(), 5.0))
    state, reports = run(finder, work, state)
    assert state.outcome == Outcome.COLLAPSED.name
    halvings = [r["share"] for r in reports if r["share"] >= 0.002][:7]
    assert halvings == [0.2 / 2**i for i in range(7)]
    assert sum(r["share"] < 0.002 for r in reports) == 4  # settled on the spot once more than the patience
    assert not any(r["knot"] for r in reports if r["share"] >= 0.002)


@pytest.mark.parametrize("after", [0, 5, 6])
def test_a_loss_that_turns_nan_is_undone_and_then_given_up(after: int) -> None:
    finder, work, state = walk("mlp", ADAPTIVE, failing(tiny.mlp(), math.nan, after))
    kept = clone(work.weights)
    reports = []
    while state.outcome is None:
        step = finder.step(work, state)
        state, reports = step.state, [*reports, step.report]
        if step.knot:
            kept = clone(work.weights)
        assert tiny.same(work.weights, kept)
    assert state.outcome == Outcome.DIVERGED.name
    assert all(p.isfinite().all() for p in work.weights.values())
    lost = [r["share"] for r in reports if not r["kept"]]
    assert lost == [lost[0] / 2**i for i in range(len(lost))] and lost[-1] / 2 < 0.002 <= lost[-1]


def test_the_fixed_pace_undoes_nan_too() -> None:
    rule = PhaseRule("all", None, FixedPace(1000, StepRule(step_f=0.001)), PAPER)
    finder, work, state = walk("mlp", LowLoss((rule,)), failing(tiny.mlp(), math.nan, after=9))
    state, reports = run(finder, work, state)
    assert state.outcome == Outcome.DIVERGED.name
    assert [r["share"] for r in reports if not r["kept"]] == [1 / 2**i for i in range(7)]
    assert all(p.isfinite().all() for p in work.weights.values())


def test_momentum_is_forgotten_when_a_move_is_undone() -> None:
    rule = PhaseRule("all", None, AdaptivePace(2.0, share=0.2), SettleRule(0.0, max_steps=4, momentum=0.9))
    finder, work, state = walk("mlp", LowLoss((rule,)), failing(tiny.mlp(), 5.0, after=4))
    state = finder.step(work, state).state
    assert work.optimizer.state
    finder.step(work, state)
    assert not work.optimizer.state


def test_phases_take_over_where_the_pace_collapses() -> None:
    at_once = replace(ADAPTIVE.phases[0], last=True)
    second = PhaseRule("first layer", frozenset({"0.weight", "0.bias"}), AdaptivePace(9.0), SettleRule(9.0))
    third = replace(second, name="everything", active=None)
    finder, work, state = walk("mlp", LowLoss((at_once, second, third), patience=2), failing(tiny.mlp(), 5.0))
    state, reports = run(finder, work, state)
    assert list(dict.fromkeys(r["phase"] for r in reports)) == ["all", "first layer", "everything"]
    assert state.outcome == Outcome.ARRIVED.name and state.phase == 2


def test_the_last_phase_ends_the_walk_where_it_arrives() -> None:
    at_once = replace(ADAPTIVE.phases[0], last=True)
    finder, work, state = walk("mlp", LowLoss((at_once, replace(at_once, name="never"))))
    state, reports = run(finder, work, state)
    assert state.outcome == Outcome.ARRIVED.name and {r["phase"] for r in reports} == {"all"}


def test_every_phase_settles_by_its_own_rule() -> None:
    phases = tuple(
        PhaseRule(str(lr), None, FixedPace(1, StepRule()), SettleRule(9.0, lr=lr, momentum=m))
        for lr, m in ((0.5, 0.0), (0.25, 0.9))
    )
    finder, work, state = walk("mlp", LowLoss(phases))
    seen = []
    while state.outcome is None:
        index = state.phase
        state = finder.step(work, state).state
        group = work.optimizer.param_groups[0]
        seen.append((index, group["lr"], group["momentum"], group["nesterov"]))
    assert seen == [(0, 0.5, 0.0, False), (1, 0.25, 0.9, True)]


# Pace by hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "gaps", "expected"),
    [
        (0.1, [6.0, 8.0], 0.2),  # 10 of 20 are left: a tenth of the whole is a fifth of what is left
        (0.1, [0.6, 0.8], 1.0),  # never past the destination
        (0.1, [12.0, 16.0], 0.1),
        (0.1, [0.0, 0.0], 1.0),
        (0.0, [6.0, 8.0], 0.0),
    ],
)
def test_adaptive_fractions_are_of_all_gaps_together(share: float, gaps: list[float], expected: float) -> None:
    got = AdaptivePace(1.0).fractions(torch.tensor(gaps), torch.tensor([12.0, 16.0]), share)
    assert got.tolist() == [pytest.approx(expected)] * 2


RULE = SettleRule(0.1, min_steps=2, max_steps=20)


@pytest.mark.parametrize(
    ("settled", "expected"),
    [
        (Settled(1, 9.0, 9.0, over_barrier=True), 0.1),
        (Settled(5, 0.2, math.nan), 0.1),
        (Settled(2, 0.1, 0.05, low=True), 0.3),
        (Settled(3, 0.1, 0.05, low=True), 0.2),
        (Settled(10, 0.3, 0.05, low=True), 0.2),
        (Settled(11, 0.3, 0.05, low=True), 0.2 / 1.5),
        (Settled(20, 0.3, 0.2, low=False), 0.2 / 1.5),
        (Settled(2, 0.3, 0.2, low=False), 0.2),  # the budget cut it short
    ],
)
def test_how_settling_changes_the_adaptive_share(settled: Settled, expected: float) -> None:
    assert AdaptivePace(1.0, most=0.5, grow=1.5, hard=0.5).after(0.2, settled, RULE) == pytest.approx(expected)


def test_the_adaptive_share_has_limits() -> None:
    pace = AdaptivePace(1.0, least=0.01, most=0.25, grow=1.5, hard=0.5)
    assert pace.after(0.2, Settled(2, 0.1, 0.05, low=True), RULE) == 0.25
    assert pace.after(0.012, Settled(20, 0.3, 0.2), RULE) == 0.01
    assert pace.after(0.012, Settled(1, 9.0, 9.0, over_barrier=True), RULE) == 0.006  # under the least: rest first


def test_the_fixed_pace_is_its_rule() -> None:
    pace = FixedPace(7, StepRule(step_c=1.0))
    gaps = torch.tensor([4.0, 0.5])
    assert pace.fractions(gaps, gaps, 1.0).tolist() == [0.25, 1.0]
    assert pace.fractions(gaps, gaps, 0.5).tolist() == [0.125, 0.5]
    assert pace.after(1.0, Settled(20, 9.0, 9.0), RULE) == 1.0
    assert pace.after(1.0, Settled(2, 9.0, math.nan), RULE) == 0.5
    assert not pace.over(6, True) and pace.over(7, False)
