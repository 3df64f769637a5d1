import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from llpf_plugin import LLPFError, Task, TensorData
from llpf_plugin.llpf.settling import SettleRule, settle
from llpf_plugin.workspace import Workspace


def told(losses: Sequence[float]) -> tuple[Workspace, torch.optim.SGD]:
    """A task whose mini-batch losses are the given numbers, and whose workspace is always 1."""
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.zero_()
    calls = iter(losses)

    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return model.weight.sum() - model.weight.sum().detach() + next(calls)

    task = Task(model, TensorData(torch.zeros(8, 1), torch.zeros(8)), objective=objective)
    return Workspace(task, batch_size=4), torch.optim.SGD(model.parameters(), lr=1.0)


@pytest.mark.parametrize(
    ("losses", "rule", "steps", "mean", "low"),
    [
        ([0.1], SettleRule(0.2, min_steps=1), 1, 0.1, True),
        ([0.1, 0.1, 0.1], SettleRule(0.2, min_steps=3), 3, 0.1, True),
        # the mean of the last two: (9+5)/2, (5+3)/2, (3+1)/2
        ([9, 5, 3, 1, 1], SettleRule(2.0, min_steps=2), 4, 2.0, True),
        # without a window it is the least number of steps; here it is the 3 that are asked for
        ([9, 9, 9, 3, 3, 0], SettleRule(2.5, min_steps=4, window=3), 6, 2.0, True),
        ([1, 1, 1, 1], SettleRule(0.5, min_steps=1, max_steps=3), 3, 1.0, False),
        ([1, 1], SettleRule(1.0, min_steps=1), 1, 1.0, True),  # at the threshold is low enough
    ],
)
def test_when_settling_ends(losses: list[float], rule: SettleRule, steps: int, mean: float, low: bool) -> None:
    workspace, optimizer = told(losses)
    settled = settle(workspace, optimizer, rule)
    assert (settled.steps, settled.mean, settled.low) == (steps, pytest.approx(mean), low)
    assert settled.first == pytest.approx(losses[0]) and not settled.rejected and settled.accepted
    assert settled.effort == steps / rule.max_steps and settled.easy is (low and steps == rule.min_steps)
    assert workspace.steps == steps
    assert workspace.model.weight.item() == -steps  # one optimizer step each


def test_a_first_loss_that_is_too_high_is_rejected_without_a_step() -> None:
    workspace, optimizer = told([3.0, 0.0])
    settled = settle(workspace, optimizer, SettleRule(0.5), reject_above=2.0)
    assert settled.rejected and settled.steps == workspace.steps == 1 and settled.first == 3.0
    assert not settled.accepted and not settled.easy
    assert workspace.model.weight.item() == 0


@given(st.data())
def test_settling_never_ends_before_its_window_is_full(data: st.DataObject) -> None:
    """However the rule is made, the mean that ends settling is one of ``window`` losses, and no earlier one was low."""
    most = data.draw(st.integers(1, 12))
    least = data.draw(st.integers(1, most))
    window = data.draw(st.none() | st.integers(1, least))
    losses = data.draw(st.lists(st.floats(0, 1), min_size=most, max_size=most))
    workspace, optimizer = told(losses)
    settled = settle(workspace, optimizer, SettleRule(0.3, least, most, window))
    full = window or least
    means = {n: sum(losses[n - full : n]) / full for n in range(least, most + 1)}
    ends = next((n for n, mean in means.items() if mean <= 0.3 - 1e-6), most)
    late = next((n for n, mean in means.items() if mean <= 0.3 + 1e-6), most)
    assert late <= settled.steps <= ends and settled.mean == pytest.approx(means[settled.steps], abs=1e-6)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"min_steps": 2, "window": 10}, "window = 10 and min_steps = 2: settling must not end before the window"),
        ({"min_steps": 2, "window": 0}, "window = 0 and min_steps = 2"),
        ({"min_steps": 0}, "min_steps = 0 and max_steps = 60: it must be 1 ≤ min_steps ≤ max_steps"),
        ({"min_steps": 9, "max_steps": 8}, "min_steps = 9 and max_steps = 8"),
    ],
)
def test_a_rule_that_could_end_before_its_window_is_full_is_refused(rule: dict[str, int], message: str) -> None:
    with pytest.raises(LLPFError, match=message):
        SettleRule(0.5, **rule)  # type: ignore[arg-type]


def test_cut_short_by_the_budget_settling_has_not_reached_its_threshold() -> None:
    workspace, optimizer = told([0.1] * 9)
    workspace.budget = 2
    settled = settle(workspace, optimizer, SettleRule(0.5, min_steps=3))
    assert settled.steps == 2 and settled.accepted and not settled.low


@pytest.mark.parametrize("first", [1.9, 2.0])
def test_a_first_loss_at_the_limit_is_not_rejected(first: float) -> None:
    workspace, optimizer = told([first, 0.0, 0.0])
    assert not settle(workspace, optimizer, SettleRule(0.5), reject_above=2.0).rejected


def test_after_the_first_loss_the_limit_only_tells_a_runaway() -> None:
    workspace, optimizer = told([1.9, 2.1, 2.0, 0.0, 0.0])
    settled = settle(workspace, optimizer, SettleRule(0.5, min_steps=1), reject_above=2.0)
    assert settled.accepted and settled.low and settled.steps == 4


def test_a_loss_that_grows_past_the_limit_and_twice_its_first_has_run_away() -> None:
    workspace, optimizer = told([1.0, 1.5, 2.1, 0.0, 0.0])
    settled = settle(workspace, optimizer, SettleRule(0.5, min_steps=1), reject_above=2.0)
    assert settled.runaway and not settled.accepted and not settled.low and settled.steps == 3


def test_on_the_spot_settling_starts_above_the_limit_and_still_tells_a_runaway() -> None:
    workspace, optimizer = told([3.0, 5.9, 0.0])
    assert settle(workspace, optimizer, SettleRule(0.5, min_steps=1), reject_above=2.0, on_the_spot=True).low
    workspace, optimizer = told([3.0, 6.1, 0.0])
    assert settle(workspace, optimizer, SettleRule(0.5, min_steps=1), reject_above=2.0, on_the_spot=True).runaway


def test_nan_is_above_every_limit() -> None:
    workspace, optimizer = told([math.nan])
    settled = settle(workspace, optimizer, SettleRule(0.5), reject_above=1e9)
    assert settled.rejected and math.isnan(settled.mean) and not settled.low


def test_nan_ends_settling_at_once() -> None:
    workspace, optimizer = told([1.0, 1.0, math.nan, 0.0, 0.0])
    settled = settle(workspace, optimizer, SettleRule(0.5, min_steps=2))
    assert settled.steps == 3 and math.isnan(settled.mean) and settled.runaway and not settled.low


def test_the_budget_is_a_limit() -> None:
    workspace, optimizer = told([1.0] * 9)
    workspace.budget = 4
    assert settle(workspace, optimizer, SettleRule(0.5, max_steps=9)).steps == 4
    assert settle(workspace, optimizer, SettleRule(0.5, max_steps=9)).steps == 0
    assert workspace.steps == 4


def test_settling_without_momentum_is_plain_sgd(mlp: Task) -> None:
    workspace = Workspace(mlp, seed=1)
    parameters = dict(mlp.model.named_parameters())
    by_hand = {k: p.detach().clone() for k, p in parameters.items()}
    for step in range(3):
        inputs, targets = mlp.train.batch(32, 1, step)
        held = {k: p.requires_grad_() for k, p in by_hand.items()}
        loss = nn.functional.cross_entropy(torch.func.functional_call(mlp.model, held, (inputs,)), targets)
        slopes = torch.autograd.grad(loss, list(held.values()))
        by_hand = {k: (p - 0.1 * g).detach() for (k, p), g in zip(held.items(), slopes, strict=True)}
    settle(workspace, torch.optim.SGD(parameters.values(), lr=0.1), SettleRule(-1.0, 3, 3))
    assert all(torch.allclose(parameters[k], p, rtol=1e-5, atol=1e-7) for k, p in by_hand.items())
