"""The walk: what holds at every tick, what undoes a move, how it ends; `test_reference` steps it beside the paper."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from helpers import tiny, walks
from torch import Tensor

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.geometry.scale_groups import scale_groups
from llpf_plugin.geometry.weights import Weights, clone, distance, select
from llpf_plugin.llpf import Backtracking, Phase, Scheduled, Settled, SettleRule, Walk, WalkState
from llpf_plugin.llpf.walk import PATIENCE, STALL, SWEEP_LR
from llpf_plugin.methods.base import Outcome
from llpf_plugin.tasks.task import Task

PAPER = SettleRule(threshold=0.05, min_steps=2, max_steps=5, lr=0.05)
GENTLE = SettleRule(0.2, lr=0.05)
STEM = frozenset({"0.weight", "0.bias"})
HEAD = frozenset({"2.weight", "2.bias"})


def adaptive(task: Task, rule: SettleRule = GENTLE, **changes: float) -> Phase:
    return walks.phase(task, replace(Backtracking(2.0, share=0.2), **changes), rule)  # type: ignore[arg-type]


def start(name: str = "mlp", task: Task | None = None, correct: sphere.Correct = "matrices") -> tuple[Walk, WalkState]:
    task = task or tiny.TASKS[name]()
    return walks.to_model(name, task, (adaptive(task),), correct)


# What holds on every walk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correct", ["matrices", "all", "none"])
def test_every_knot_is_on_the_spheres_of_the_start(correct: sphere.Correct) -> None:
    walk, state = start("conv", correct=correct)
    before = clone(walk.weights)
    held = {k for k, p in before.items() if correct == "all" or (correct == "matrices" and p.dim() >= 2)}
    held = {k for k in held if sphere.has_sphere(before[k])}
    assert set(walk.direction.spheres) == held
    outcome = None
    while outcome is None:
        step = walk.step(state)
        state, outcome = step.state, step.outcome
        for k in held:
            variance = pytest.approx(sphere.variance(before[k]), rel=1e-5)
            assert sphere.variance(walk.weights[k]) == variance
            assert sphere.variance(walk.direction.destination[k]) == variance
    free = [k for k in before if k not in held]
    assert correct == "all" or any(
        abs(sphere.variance(walk.weights[k]) - sphere.variance(before[k])) > 1e-3 for k in free
    )


def test_what_is_not_active_settles_but_does_not_move() -> None:
    task = tiny.mlp()
    still = SettleRule(math.inf, min_steps=1, max_steps=1, lr=0.0)
    walk, state = walks.to_model(
        "mlp", task, (walks.phase(task, Scheduled(1, StepRule(step_f=1.0)), still, "stem", STEM),)
    )
    before = clone(walk.weights)
    walk.step(state)
    assert tiny.same(select(walk.weights, HEAD), select(before, HEAD))
    for k in STEM:
        assert torch.allclose(walk.weights[k], walk.direction.destination[k], rtol=1e-6, atol=1e-7)


def test_the_walk_happens_in_the_model_itself() -> None:
    walk, state = start("conv")
    places = {k: p.data_ptr() for k, p in walk.workspace.model.named_parameters()}
    walk.step(state)
    assert {k: p.data_ptr() for k, p in walk.workspace.model.named_parameters()} == places
    assert all(walk.weights[k].data_ptr() == place for k, place in places.items())


def test_the_closing_knot_is_the_end_on_the_spheres_of_the_start() -> None:
    walk, _ = start()
    end = tiny.pair("mlp")[1]
    (projected,) = walk.closing()
    assert list(projected) == list(walk.weights) and all(d.device.type == "cpu" for d in projected.values())
    for k, d in projected.items():
        expected = sphere.project(end[k], walk.direction.spheres[k]) if k in walk.direction.spheres else end[k]
        assert torch.allclose(d, expected, rtol=1e-5, atol=1e-7)


def test_arrival_is_near_the_destination_and_not_by_momentum_past_it() -> None:
    task = tiny.mlp()
    walk, state = walks.to_model("mlp", task, (adaptive(task, replace(GENTLE, momentum=0.9)),))
    whole = distance(walk.weights, walk.direction.destination)
    _, outcome, _ = walks.run(walk, state)
    assert outcome is Outcome.ARRIVED and distance(walk.weights, walk.direction.destination) < 0.05 * whole


def test_a_tick_says_what_happened() -> None:
    walk, state = start()
    gap = distance(walk.weights, walk.direction.destination)
    assert state == WalkState(0, 0, 0.2, 1.0, pytest.approx(gap, rel=1e-5))
    step = walk.step(state)
    assert step.tick is not None
    assert (step.tick.phase, step.tick.tick, step.tick.share, step.tick.kept, step.tick.sweep) == (
        "all",
        0,
        0.2,
        True,
        0,
    )
    assert step.tick.gap == pytest.approx(gap, rel=1e-5) and step.tick.steps == walk.workspace.steps
    assert step.tick.lr == GENTLE.lr and step.knot
    assert step.state.tick == 1 and step.state.closest == pytest.approx(gap, rel=1e-5)


@pytest.mark.parametrize("reject_above", [2.0, math.inf])
def test_a_tick_waits_for_the_device_once_and_for_each_loss_that_it_reads(reject_above: float) -> None:
    task = tiny.TASKS["mlp"]()
    control = Scheduled(9, StepRule(step_a=0.1)) if reject_above == math.inf else Backtracking(reject_above)
    walk, state = walks.to_model("mlp", task, (walks.phase(task, control, SettleRule(9.0, 3, 3)),), "matrices")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        walk.step(state)
    names = [event.name for event in profiler.events()]
    assert names.count("aten::_local_scalar_dense") == 2  # the first loss and the rolling one; one list is read at once


def test_the_learning_rate_is_annealed_on_the_last_part_of_the_way() -> None:
    task = tiny.mlp()
    walk, state = walks.to_model("mlp", task, (adaptive(task, anneal_below=0.5, max_share=0.2),))
    _, _, steps = walks.run(walk, state)
    ticks = [s.tick for s in steps if s.tick is not None]
    first = ticks[0].gap
    early = {t.lr for t in ticks if t.gap >= 0.5 * first}
    late = [t for t in ticks if t.gap < 0.5 * first]
    assert early == {GENTLE.lr} and len(late) >= 2
    assert all(t.lr == pytest.approx(GENTLE.lr * max(1 / 64, t.gap / (0.5 * first)), rel=1e-5) for t in late)


# Undo, shrink, give up ------------------------------------------------------------------------------------------------


def test_a_move_that_is_rejected_is_undone_and_the_share_halved() -> None:
    walk, state = start(task=walks.failing(tiny.mlp(), 5.0))
    before = clone(walk.weights)
    step = walk.step(state)
    assert step.tick is not None and not step.knot and not step.tick.kept and step.tick.steps == 1
    assert tiny.same(walk.weights, before)
    assert step.state.share == 0.1 and step.outcome is None


def test_a_walk_whose_every_move_is_rejected_collapses() -> None:
    walk, state = start(task=walks.failing(tiny.mlp(), 5.0))
    _, outcome, steps = walks.run(walk, state)
    assert outcome is Outcome.COLLAPSED
    shares = [s.tick.share for s in steps if s.tick is not None]
    assert [x for x in shares if x >= 0.002][:7] == [0.2 / 2**i for i in range(7)]
    assert sum(x < 0.002 for x in shares) == PATIENCE + 1  # settled on the spot once more than the patience
    assert not any(s.knot for s in steps if s.tick is not None and s.tick.share >= 0.002)


@pytest.mark.parametrize("after", [0, 5, 6])
def test_a_loss_that_turns_nan_is_undone_and_then_given_up(after: int) -> None:
    walk, state = start(task=walks.failing(tiny.mlp(), math.nan, after))
    kept = clone(walk.weights)
    outcome, lost = None, []
    while outcome is None:
        step = walk.step(state)
        state, outcome = step.state, step.outcome
        if step.knot:
            kept = clone(walk.weights)
        if step.tick is not None and not step.tick.kept:
            lost.append(step.tick.share)
        assert tiny.same(walk.weights, kept)
    assert outcome is Outcome.DIVERGED
    assert all(p.isfinite().all() for p in walk.weights.values())
    assert lost == [lost[0] / 2**i for i in range(len(lost))] and lost[-1] / 2 < 0.002 <= lost[-1]


def test_a_schedule_undoes_nan_and_gives_up() -> None:
    """Its moves are given; there are no smaller ones to try."""
    task = walks.failing(tiny.mlp(), math.nan, after=9)
    walk, state = walks.to_model("mlp", task, (walks.phase(task, Scheduled(1000, StepRule(step_f=0.001)), PAPER),))
    _, outcome, steps = walks.run(walk, state)
    assert outcome is Outcome.DIVERGED
    assert [s.tick.share for s in steps if s.tick is not None and not s.tick.kept] == [1.0]
    assert len(steps) >= 2 and all(p.isfinite().all() for p in walk.weights.values())


def test_momentum_is_forgotten_when_a_move_is_undone() -> None:
    task = walks.failing(tiny.mlp(), 5.0, after=4)
    walk, state = walks.to_model("mlp", task, (adaptive(task, SettleRule(0.0, max_steps=4, momentum=0.9)),))
    state = walk.step(state).state
    assert walk.optimizer.state
    walk.step(state)
    assert not walk.optimizer.state


def test_what_settles_above_the_limit_is_no_knot_and_settles_on_the_spot_next() -> None:
    task = tiny.mlp()
    walk, _ = walks.to_model("mlp", task, (adaptive(task),))
    walk.keep_below = 0.5
    state, means = walk.init(*walks.ends("mlp", task)), iter((0.9, 0.9, 0.1))
    walk.settle = lambda *_: Settled(3, m := next(means), m, low=False, effort=0.1)  # type: ignore[method-assign]
    steps = []
    for _ in range(3):
        steps.append(walk.step(state))
        state = steps[-1].state
    assert [s.knot for s in steps] == [False, False, True]
    assert [s.tick.kept for s in steps if s.tick is not None] == [True] * 3
    assert steps[0].state.share < 0.002 and steps[1].state.stuck == 1 and steps[2].state.share == 0.002


# Phases ---------------------------------------------------------------------------------------------------------------


def test_phases_take_over_where_the_share_falls_below_what_gives_way() -> None:
    task = walks.failing(tiny.mlp(), 5.0)
    at_once = adaptive(task, gives_way=0.03)
    second = walks.phase(task, Backtracking(9.0), SettleRule(9.0), "stem", STEM)
    third = walks.phase(task, Backtracking(9.0), SettleRule(9.0), "everything")
    walk, state = walks.to_model("mlp", task, (at_once, second, third))
    state, outcome, steps = walks.run(walk, state)
    phases = [s.tick.phase for s in steps if s.tick is not None]
    assert list(dict.fromkeys(phases)) == ["all", "stem", "everything"]
    assert phases.count("all") == 3  # 0.2, 0.1, 0.05; then 0.025
    assert outcome is Outcome.ARRIVED and state.phase == 2


def test_a_phase_that_may_give_way_ends_the_walk_where_it_arrives() -> None:
    task = tiny.mlp()
    at_once = adaptive(task, gives_way=0.01)
    walk, state = walks.to_model("mlp", task, (at_once, replace(at_once, name="never")))
    _, outcome, steps = walks.run(walk, state)
    assert outcome is Outcome.ARRIVED and {s.tick.phase for s in steps if s.tick is not None} == {"all"}


def test_a_phase_hands_over_before_it_has_arrived() -> None:
    """At a tenth of its way; what is left of it is moved by the next, which names its layers too."""
    task = tiny.mlp()
    first = walks.phase(
        task, Backtracking(9.0, share=0.25, max_share=0.25, hand_over=0.3), SettleRule(9.0, lr=0.0), "stem", STEM
    )
    last = walks.phase(task, Backtracking(9.0, share=0.5), SettleRule(9.0, lr=0.0), "everything")
    walk, state = walks.to_model("mlp", task, (first, last), "none")
    whole = distance(select(walk.weights, STEM), walk.direction.destination)
    walked = 0
    while state.phase == 0:
        state, walked = walk.step(state).state, walked + 1
    left = distance(select(walk.weights, STEM), walk.direction.destination)
    assert walked == 4 and left == pytest.approx(0.0, abs=1e-4 * whole)  # the fourth began at a quarter, under 0.3
    assert walks.run(walk, state)[1] is Outcome.ARRIVED


def test_every_phase_settles_by_its_own_rule() -> None:
    task = tiny.mlp()
    phases = tuple(
        walks.phase(task, Scheduled(1, StepRule()), SettleRule(9.0, lr=lr, momentum=m), str(lr))
        for lr, m in ((0.5, 0.0), (0.25, 0.9))
    )
    walk, state = walks.to_model("mlp", task, phases)
    outcome, seen = None, []
    while outcome is None:
        index = state.phase
        step = walk.step(state)
        state, outcome = step.state, step.outcome
        group = walk.optimizer.param_groups[0]
        seen.append((index, group["lr"], group["momentum"], group["nesterov"]))
    assert seen == [(0, 0.5, 0.0, False), (1, 0.25, 0.9, True)]


def undoing(walk: Walk, part: float) -> None:
    """Settling that takes back a part of every move."""

    def settle(*_: object) -> Settled:
        for k, p in walk.weights.items():
            p.lerp_(walk.before[k], part)
        return Settled(3, 0.1, 0.1, low=True, effort=0.1)

    walk.settle = settle  # type: ignore[method-assign]


def test_phases_are_swept_again_nearer_and_more_gently() -> None:
    """The last phase came close but not near: all phases once more, at a fifth of the learning rate each time."""
    task = tiny.mlp()
    control = Backtracking(9.0, share=0.4, max_share=0.4, hand_over=0.5)
    gives_way = walks.phase(task, replace(control, gives_way=0.4), GENTLE, "at once")
    phases = [walks.phase(task, control, GENTLE, name, own) for name, own in (("stem", STEM), ("all", None))]
    walk, state = walks.to_model("mlp", task, (gives_way, *phases))
    state = walk._enter(1, 1.0)  # the first one has given way
    undoing(walk, 0.3)
    seen = {}
    outcome = None
    while outcome is None:
        step = walk.step(state)
        assert step.tick is not None
        seen.setdefault((step.tick.phase, step.tick.sweep), (step.tick, state.lr))
        state, outcome = step.state, step.outcome
    assert list(seen) == [("stem", 0), ("all", 0), ("stem", 1), ("all", 1), ("stem", 2), ("all", 2)]
    assert outcome is Outcome.ARRIVED
    for (_, sweep), (tick, lr) in seen.items():
        assert tick.lr == pytest.approx(GENTLE.lr * lr * SWEEP_LR**sweep)
    gaps = [seen["all", sweep][0].gap for sweep in range(3)]
    assert gaps[1] < 0.1 * gaps[0] and gaps[2] < 0.2 * gaps[1]


def test_without_an_advance_for_long_the_walk_settles_more_gently_and_then_collapses() -> None:
    task = tiny.mlp()
    walk, state = walks.to_model("mlp", task, (adaptive(task, max_share=0.2),))
    undoing(walk, 1.0)
    state, outcome, steps = walks.run(walk, state, ticks=40 * STALL)
    assert outcome is Outcome.COLLAPSED
    factors = [s.state.lr for s in steps]
    falls = [i for i, (x, y) in enumerate(pairwise(factors)) if y < x]
    assert len(falls) >= 6 and all(j - i == STALL for i, j in pairwise(falls))
    assert state.lr == 1 / 64 and state.stalled > PATIENCE * STALL


# Towards the origin ---------------------------------------------------------------------------------------------------


def origin(name: str, control: Backtracking | Scheduled, **options: object) -> tuple[Walk, WalkState, Weights]:
    task = tiny.TASKS[name]()
    a, _ = walks.ends(name, task)
    walk, state = walks.to_origin(a, task, (walks.phase(task, control, GENTLE),), **options)  # type: ignore[arg-type]
    return walk, state, a


def test_a_walk_to_spheres_arrives_on_them() -> None:
    walk, state, a = origin("mlp", Backtracking(2.0, anneal_below=0.0, hand_over=0.0), part=0.5)
    _, outcome, steps = walks.run(walk, state)
    assert outcome is Outcome.ARRIVED and len(steps) > 3
    for k in ("0.weight", "2.weight"):
        assert sphere.variance(walk.weights[k]) == pytest.approx(0.5 * sphere.variance(a[k]), rel=2e-4)
    assert walk.step(replace(state, tick=1)).outcome is Outcome.ARRIVED  # nothing is left to be moved


def test_what_may_be_scaled_is_scaled_in_the_first_step_without_a_gradient() -> None:
    task = tiny.conv()
    a, _ = walks.ends("conv", task)
    exact = [g for g in scale_groups(task.model, a) if g.matrix != "fc.weight"]
    control = Backtracking(2.0, anneal_below=0.0, hand_over=0.0)
    walk, state = walks.to_origin(a, task, (walks.phase(task, control, GENTLE),), part=0.25, exact=exact)
    step = walk.step(state)
    assert step.knot and step.tick is not None and step.tick.steps == 0 == walk.workspace.steps
    assert step.tick.scaled == ("conv1.weight", "conv2.weight") and math.isnan(step.tick.first_loss)
    assert torch.allclose(walk.weights["conv1.weight"], a["conv1.weight"] / 2, rtol=1e-5)
    assert torch.equal(walk.weights["fc.weight"], a["fc.weight"])
    second = walk.step(step.state)
    assert second.tick is not None and second.tick.scaled == () and second.tick.steps > 0


def test_each_layer_has_its_own_learning_rate() -> None:
    walk, state, a = origin("mlp", Scheduled(3, StepRule(step_a=0.2)))
    names = list(a)
    for _ in range(3):
        # the move takes a fifth of the way to 0: settling then has 0.8² of the variance that it left
        part = {
            k: 0.8**2 * sphere.variance(walk.weights[f"{k[0]}.weight"]) / sphere.variance(a[f"{k[0]}.weight"])
            for k in names
        }
        state = walk.step(state).state
        rates = [group["lr"] for group in walk.optimizer.param_groups]
        assert rates == pytest.approx([GENTLE.lr * part[k] for k in names], rel=1e-4)
    assert max(rates) < 0.7 * GENTLE.lr


def test_at_the_edge_the_walk_ends_short_of_its_target() -> None:
    task = walks.failing(tiny.mlp(), 5.0, after=30)
    a, _ = walks.ends("mlp", task)
    control = Backtracking(2.0, anneal_below=0.0, hand_over=0.0)
    walk, state = walks.to_origin(a, task, (walks.phase(task, control, GENTLE),), part=0.01)
    _, outcome, _ = walks.run(walk, state)
    assert outcome is Outcome.EDGE


# Stop and resume ------------------------------------------------------------------------------------------------------


def test_tensors_that_are_saved_are_all_that_a_walk_needs() -> None:
    task = tiny.mlp()
    phases = (adaptive(task, replace(GENTLE, momentum=0.9)),)
    walk, state = walks.to_model("mlp", task, phases)
    for _ in range(3):
        state = walk.step(state).state
    saved: dict[str, Tensor] = clone(walk.save())
    assert {k.partition(".")[0] for k in saved} == {"weights", "optimizer", "start_gaps"}
    later = walk.step(state)
    again, _ = walks.to_model("mlp", tiny.mlp(), phases)
    again.workspace.steps = walk.workspace.steps - (later.tick.steps if later.tick else 0)
    again.load(saved)
    assert again.step(state) == later and tiny.same(again.weights, walk.weights)
