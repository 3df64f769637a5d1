"""The rate that finds itself: Polyak's quotient where the loss is high, lowered where it leads up or collapses."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.searches import Recorder, found, resuming, same_path
from torch import Tensor, nn

from llpf_plugin import LLPF, Bezier, Linear, Method, Task, TensorData, walk_to_origin
from llpf_plugin.evaluation.goal import Goal
from llpf_plugin.geometry import Weights, clone, coordinates
from llpf_plugin.methods import Outcome
from llpf_plugin.records import Rate
from llpf_plugin.search import rate
from llpf_plugin.search.rate import HIGH, LOOKS, LOW, QUOTIENTS, TRIAL, find_rate, slower
from llpf_plugin.workspace import Compute, Workspace

GOAL = Goal(loss=0.1, ends=0.0, batch=0.0)

# The look -------------------------------------------------------------------------------------------------------------


class Wells(nn.Module):
    """Two weights ``w`` without data; 1-d, so that they lie on no sphere."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))


def at(*values: float) -> Weights:
    return {"w": torch.tensor(values, dtype=torch.float32)}


def wells(height: float = 1.0, sharp: float = 0.0) -> Workspace:
    """``height·(w₀² − 1)² + sharp·w₁²/2``: wells at ±1, and in ``w₁`` a valley as steep as one likes."""

    def objective(model: Wells, batch: object) -> Tensor:
        return height * (model.w[0] ** 2 - 1) ** 2 + sharp * model.w[1] ** 2 / 2

    nothing = TensorData(torch.zeros(4, 1), torch.zeros(4))
    return Workspace(Task(Wells(), nothing, objective=objective), Compute("cpu"))  # type: ignore[arg-type]


def test_the_rate_is_polyaks_where_the_loss_is_high() -> None:
    """(w² − 1)² over its squared slope is 1/(16·w²); the loss is LOW to HIGH rooms where w² is 1 − √(rooms/10)."""
    workspace = wells()
    got = find_rate(workspace, at(-1, 0), at(1, 0), GOAL, 0.9)
    squares = [1 - (rooms / 10) ** 0.5 for rooms in (LOW, HIGH)]
    assert 1 / (16 * squares[0]) < got.value < 1 / (16 * squares[1]) and got.source == "found"
    assert QUOTIENTS + TRIAL <= got.steps == workspace.steps <= LOOKS + TRIAL


def test_a_loss_in_other_units_has_a_rate_in_theirs() -> None:
    one = find_rate(wells(), at(-1, 0), at(1, 0), GOAL, 0.9)
    thousandth = find_rate(wells(1e-3), at(-1, 0), at(1, 0), Goal(1e-4, 0.0, 0.0), 0.9)
    assert thousandth.value == pytest.approx(1000 * one.value, rel=1e-3)


def test_a_direction_that_the_quotient_does_not_see_halves_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient hardly points down the valley, but steps at Polyak's rate leave it, tenfold at a time."""
    ends = at(-1, 0), at(1, 0.02)
    tried = find_rate(wells(sharp=300.0), *ends, GOAL, 0.0)
    monkeypatch.setattr(rate, "TRIAL", 0)
    blind = find_rate(wells(sharp=300.0), *ends, GOAL, 0.0)
    assert blind.value > 2 / 300 * 2 and blind.value / tried.value in (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@pytest.mark.parametrize("goal", [Goal(4.0, 0.0, 0.0), Goal(1e9, 0.0, 0.0)])
def test_a_line_that_is_nowhere_high_leaves_the_tasks_rate(goal: Goal) -> None:
    workspace = wells()
    assert find_rate(workspace, at(-1, 0), at(1, 0), goal, 0.9) == Rate(0.05, "task", LOOKS)


def test_a_wall_of_nan_is_looked_at_from_before_it() -> None:
    def wall(model: Wells, batch: object) -> Tensor:
        loss = (model.w[0] ** 2 - 1) ** 2
        return loss * torch.nan if abs(float(model.w[0].detach())) < 0.6 else loss

    workspace = wells()
    workspace.task = replace(workspace.task, objective=wall)  # type: ignore[arg-type]
    got = find_rate(workspace, at(-1, 0), at(1, 0), GOAL, 0.9)
    assert got.source == "found" and 0 < got.value < 1


def test_the_model_is_left_as_it_was_and_the_look_repeats_itself() -> None:
    a, b = tiny.pair("conv")
    goal = Goal(0.1, 0.001, 0.01)
    rates = []
    for _ in range(2):
        workspace = Workspace(tiny.conv(), Compute("cpu"), seed=3)
        names = coordinates(workspace.model)
        before = clone(workspace.model.state_dict())
        rates.append(find_rate(workspace, {k: a[k] for k in names}, {k: b[k] for k in names}, goal, 0.9))
        assert tiny.same(workspace.model.state_dict(), before) and workspace.steps == rates[-1].steps
    assert rates[0] == rates[1]


@pytest.mark.parametrize("budget", [1, 2 * (LOOKS + TRIAL) - 1])
def test_a_budget_too_small_for_a_look_is_not_spent_on_it(budget: int) -> None:
    workspace = wells()
    workspace.budget = budget
    assert find_rate(workspace, at(-1, 0), at(1, 0), GOAL, 0.9) == Rate(0.05, "task", 0) and workspace.steps == 0


# Searches -------------------------------------------------------------------------------------------------------------


def test_a_rate_that_the_user_gives_is_obeyed() -> None:
    path = found("mlp", lr=0.07)
    assert path.cost.rate == Rate(0.07) and path.record[0].lr == 0.07 and path.record[0].gradient_steps == 2


@pytest.mark.parametrize("method", [LLPF(), Bezier(steps=20)])
def test_a_rate_that_was_found_is_used_and_counted(method: Method) -> None:
    path = found("mlp", method, max_loss=0.05)
    own = path.cost.rate
    assert own.source == "found" and own.steps >= QUOTIENTS + TRIAL and path.record[0].lr in (own.value, 2 * own.value)
    assert path.record[0].gradient_steps == own.steps + path.record[0].steps


def test_what_needs_no_rate_looks_for_none() -> None:
    line = found("mlp", Linear())
    origin = walk_to_origin(tiny.pair("mlp")[0], tiny.mlp(), ticks=1, tolerance=0.3)
    assert line.cost.rate is None and line.cost.gradient_steps == 0
    assert origin.cost.rate is None and origin.record[0].lr == 0.1


# Collapses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "ended", "lowered"),
    [
        (Rate(0.4, "found", 9), "COLLAPSED", Rate(0.1, "found", 9, 1)),
        (Rate(0.4, "task"), "DIVERGED", Rate(0.1, "task", 0, 1)),
        (Rate(0.4, "found", 9, 3), "COLLAPSED", None), (Rate(0.4), "COLLAPSED", None), (None, "DIVERGED", None),
        (Rate(0.4, "found"), "ARRIVED", None), (Rate(0.4, "found"), None, None), (Rate(0.4, "found"), "EDGE", None),
    ],
)  # fmt: skip
def test_what_a_collapse_lowers(own: Rate | None, ended: str | None, lowered: Rate | None) -> None:
    workspace = wells()
    assert slower(own, ended, workspace) == lowered
    workspace.budget = 0
    assert slower(own, ended, workspace) is None


def too_high(value: float) -> Callable[..., Rate]:
    return lambda *_: Rate(value, "found")


@pytest.mark.parametrize(("method", "value"), [(LLPF(), 1e4), (Bezier(steps=200), 1e4)])
def test_a_search_that_collapses_goes_on_at_a_lower_rate(
    method: Method, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llpf_plugin.search.find.find_rate", too_high(value))
    path = found("mlp", method, tolerance=0.2, budget=2000)
    own = path.cost.rate
    assert 1 <= own.falls <= 3 and own.value == value / 4**own.falls
    given: dict[str, Any] = {"tolerance": 0.2, "budget": 2000, "lr": value}
    assert found("mlp", method, **given).outcome in (Outcome.COLLAPSED, Outcome.DIVERGED)
    assert "lowered after a collapse" in own.words


@pytest.mark.parametrize(("method", "value"), [(LLPF(), 1e4), (Bezier(steps=200), 200.0)])
def test_resumed_around_a_collapse_it_ends_with_the_same_bits(
    method: Method, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llpf_plugin.search.find.find_rate", too_high(value))
    options: dict[str, Any] = {"tolerance": 0.2, "budget": 600}
    whole = found("mlp", method, **options)
    first, ticks = whole.record[0], list(enumerate(pairwise(whole.record), start=1))
    falls = [i for i, (_, tick) in ticks if (tick.phase, tick.tick, tick.stretch) == (first.phase, 0, 0)]
    assert len(falls) == whole.cost.rate.falls >= 1
    recorder = Recorder(0, *(i + k for i in falls for k in (0, 1, 2)))
    assert same_path(found("mlp", method, callbacks=[recorder], **options), whole)
    assert len(recorder.taken) > 2
    for taken in recorder.taken.values():
        assert same_path(found("mlp", method, **options, **resuming(taken)), whole)
