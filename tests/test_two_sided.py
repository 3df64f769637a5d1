"""Walks from both ends, phases that hand over early, and sweeps through them."""

import copy
import json
from itertools import groupby, pairwise
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from test_find import Recorder, found, same_path
from test_finders_common import MOMENTUM, Run

from llpf_plugin import LLPFError, Path, measure
from llpf_plugin.geometry.weights import clone, coordinates, distance
from llpf_plugin.llpf.low_loss import SWEEP_LR, LowLoss, PhaseRule
from llpf_plugin.llpf.pace import AdaptivePace
from llpf_plugin.methods.base import Outcome

every_task = pytest.mark.parametrize("name", tiny.TASKS)
FIRST = {"mlp": frozenset({"0.weight", "0.bias"}), "conv": frozenset({"conv1.weight", "conv1.bias"})}


def sides(path: Path) -> list[str]:
    """The sides of the path's knots, runs of one side written once."""
    return [side for side, _ in groupby(label["side"] for label in path.labels)]


@every_task
def test_walks_from_both_ends_meet(name: str) -> None:
    path = found(name, sides="both")
    a, b = tiny.pair(name)
    assert path.outcome is Outcome.ARRIVED and path.quality.criteria[1].holds
    assert "met" in path.quality.criteria[1].sentence and path.two_sided
    assert sides(path) == ["A", "B"] and {r["side"] for r in path.record} == {"A", "B"}
    assert tiny.same(path.at(0), a) and tiny.same(path.at(1), b)
    assert path.labels[path.last_settled]["side"] == "A" and path.labels[path.destination]["side"] == "B"
    assert measure(path, tiny.TASKS[name](), points=9).maximum <= path.cost["goal"] * 1.1


def test_the_walkers_take_turns_and_each_comes_closer_to_the_other() -> None:
    path = found("mlp", sides="both")
    assert all(x["side"] != y["side"] for x, y in pairwise(path.record))
    one_sided = found("mlp")
    assert not one_sided.two_sided and sides(one_sided) == ["A", "B"]  # B's are the closing knot and the end
    assert {r["side"] for r in one_sided.record} == {"A"}


@every_task
def test_a_turn_exchanges_model_and_destination(name: str) -> None:
    finder = LowLoss((PhaseRule("all", None, AdaptivePace(1.0), MOMENTUM),), two_sided=True)
    run = Run(lambda _: finder, name)
    here, there = clone(run.work.weights), clone(run.work.destination)
    run.work.turn()
    assert tiny.same(run.work.weights, there) and tiny.same(run.work.destination, here) and run.work.side == 1
    assert tiny.same(coordinates(run.gradient.model), there)
    run.work.turn()
    assert tiny.same(run.work.weights, here) and tiny.same(run.work.destination, there) and run.work.side == 0


def test_a_tick_leaves_the_other_walker_where_it_is() -> None:
    run = Run(lambda _: LowLoss((PhaseRule("all", None, AdaptivePace(1.0), MOMENTUM),), two_sided=True), "conv")
    for _ in range(4):
        others = clone(run.work.weights if run.state.side != run.work.side else run.work.destination)
        run.tick()
        assert tiny.same(run.work.destination, others)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"phases": "stage"}], ids=["plain", "momentum", "phases"])
def test_resumed_from_any_tick_it_ends_with_the_same_bits(options: dict[str, Any]) -> None:
    options = {"sides": "both", "max_loss": 0.3, **options}
    recorder = Recorder(*range(0, 40, 3))
    whole = found("conv", callbacks=[recorder], **options)
    assert len(recorder.taken) > 3
    for values, tensors, knots in recorder.taken.values():
        again = found("conv", knots=copy.deepcopy(knots), resume=(json.loads(values), tensors), **options)
        assert same_path(again, whole)


def test_repairs_keep_to_their_side_of_the_meeting_place() -> None:
    path = found("mlp", sides="both", max_loss=0.04, share=0.5, threshold=0.3, barrier=3.0)
    assert path.cost["repairs"] >= 1 and sides(path) == ["A", "B"]
    assert path.quality.maximum <= path.cost["goal"]


@pytest.mark.parametrize("budget", [1, 4, 9])
def test_a_budget_that_ends_before_they_meet_keeps_both_walks(budget: int) -> None:
    path = found("conv", sides="both", budget=budget, max_loss=0.005)
    assert path.outcome is Outcome.BUDGET and path.cost["gradient_steps"] == budget and not path.quality.connected
    settled = [label["side"] for label in path.labels if label["kind"] == "settled"]
    assert settled == sorted(settled)
    assert tiny.same(path.at(0), tiny.pair("conv")[0]) and tiny.same(path.at(1), tiny.pair("conv")[1])


@pytest.mark.parametrize(
    ("options", "words"), [({"sides": "left"}, "one or both"), ({"sides": "both", "pace": "lenet5"}, "adaptive pace")]
)
def test_sides_that_make_no_sense_are_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(LLPFError, match=words):
        found("mlp", **options)


# Phases ---------------------------------------------------------------------------------------------------------------


def phases(name: str, pace: AdaptivePace) -> tuple[PhaseRule, ...]:
    return PhaseRule("first", FIRST[name], pace, MOMENTUM), PhaseRule("all", None, pace, MOMENTUM)


@every_task
def test_a_phase_makes_room_for_the_next_once_it_is_near(name: str) -> None:
    run = Run(lambda n: LowLoss(phases(n, AdaptivePace(2.0, share=0.1, enough=0.5))), name)
    gap = run.state.gap
    while run.state.phase == 0:
        run.tick()
    assert 0.2 * gap < run.reports[-1]["gap"] <= 0.5 * gap


@every_task
def test_phases_are_swept_until_the_walk_is_there(name: str) -> None:
    run = Run(lambda n: LowLoss(phases(n, AdaptivePace(2.0, share=0.1, most=0.2, enough=0.5, slow=1e-9))), name)
    whole = distance(run.a, run.b)
    run.finish(300)
    assert run.state.outcome == "ARRIVED" and distance(run.work.weights, run.work.destination) < 0.05 * whole
    swept = [(r["sweep"], r["phase"]) for r in run.reports]
    order = [key for key, _ in groupby(swept)]
    assert order[:3] == [(0, "first"), (0, "all"), (1, "first")] and order == sorted(order, key=lambda k: k[0])
    rates = {r["sweep"]: r["lr"] for r in run.reports if r["phase"] == "first"}
    assert rates[1] == pytest.approx(rates[0] * SWEEP_LR)


def test_all_at_once_gives_way_to_the_phases_when_its_share_is_small() -> None:
    pace = AdaptivePace(2.0, share=0.1)
    at_once = PhaseRule("at once", None, pace, MOMENTUM, last=True, yields=0.2)
    run = Run(lambda n: LowLoss((at_once, *phases(n, pace))), "conv").finish()
    assert [key for key, _ in groupby(r["phase"] for r in run.reports)][:3] == ["at once", "first", "all"]
    assert [r["phase"] for r in run.reports].count("at once") == 1
    patient = Run(lambda n: LowLoss((PhaseRule("at once", None, pace, MOMENTUM, last=True), *phases(n, pace))), "conv")
    assert {r["phase"] for r in patient.finish().reports} == {"at once"}


@given(st.floats(0, 100), st.floats(0, 100), st.floats(1e-3, 50))
def test_the_learning_rate_falls_with_the_distance(near: float, far: float, start: float) -> None:
    pace = AdaptivePace(1.0)
    low, high = sorted((near, far))
    assert pace.coldest <= pace.calm(low, start) <= pace.calm(high, start) <= 1.0
    assert pace.calm(start, start) == 1.0 and pace.calm(0.0, 0.0) == 1.0
