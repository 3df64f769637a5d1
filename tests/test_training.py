"""Training an endpoint: a function of the seed, by the task's recipe."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import tiny
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from llpf_plugin.evaluation import evaluate
from llpf_plugin.geometry import clone
from llpf_plugin.training import initialise, train
from llpf_plugin.workspace import Workspace


@pytest.mark.parametrize("name", tiny.TASKS)
def test_an_endpoint_is_a_function_of_its_seed(name: str) -> None:
    first, again = (train(tiny.TASKS[name](), 1, epochs=2) for _ in range(2))
    other = train(tiny.TASKS[name](), 2, epochs=2)
    assert tiny.same(first, again) and not tiny.same(first, other)
    assert list(first) == list(tiny.TASKS[name]().model.state_dict())


def test_whatever_the_model_held_before() -> None:
    task = tiny.conv()
    before = train(tiny.conv(), 3, epochs=1)
    task.model.load_state_dict(tiny.pair("conv")[0])
    assert tiny.same(train(task, 3, epochs=1), before)


def test_initial_weights_are_those_of_every_modules_own() -> None:
    model, by_hand = tiny.conv().model, tiny.conv().model
    initialise(model, 5)
    torch.manual_seed(5)
    for module in (by_hand.conv1, by_hand.bn1, by_hand.conv2, by_hand.bn2, by_hand.fc):
        module.reset_parameters()  # type: ignore[operator]
    assert tiny.same(model.state_dict(), by_hand.state_dict())
    attention = nn.MultiheadAttention(4, 2)
    before = clone(attention.state_dict())
    initialise(attention, 6)
    assert not torch.equal(attention.in_proj_weight, before["in_proj_weight"])


def rates(**options: Any) -> list[float]:
    """The learning rate of every step."""
    seen: list[float] = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    try:
        train(tiny.mlp(), 0, **options)
    finally:
        handle.remove()
    return seen


def test_the_learning_rate_rises_and_falls_in_one_cycle_or_stays() -> None:
    """Three batches an epoch: 30 steps; a cycle begins at a 25th of its peak, which comes after three tenths."""
    cycle = rates(epochs=10, lr=0.1)
    assert len(cycle) == 30 and cycle[0] == pytest.approx(0.004)
    assert max(cycle) == pytest.approx(0.1) and cycle.index(max(cycle)) == 8
    assert cycle[-1] < 1e-5
    assert rates(epochs=2, lr=0.1, constant=True) == [0.1] * 6


def test_the_recipe_is_the_tasks_unless_another_is_given() -> None:
    task = replace(tiny.mlp(), recipe={"epochs": 2, "lr": 0.2})
    told: list[tuple[int, int]] = []
    recipe = train(task, 1, progress=lambda step, steps, loss: told.append((step, steps)))
    assert told == [(1, 6), (6, 6)]
    assert tiny.same(recipe, train(tiny.mlp(), 1, epochs=2, lr=0.2))
    assert not tiny.same(recipe, train(task, 1, weight_decay=0.1))


def test_less_than_an_epoch_is_a_step_at_least() -> None:
    told: list[int] = []
    train(tiny.mlp(), 1, epochs=0.01, progress=lambda step, steps, loss: told.append(steps), constant=True)
    assert told == [1]


def test_an_endpoint_has_the_statistics_of_its_training_data() -> None:
    task = tiny.conv()
    weights = tiny.pair("conv")[0]
    _, buffers = evaluate(Workspace(task), weights, {})
    assert all(torch.allclose(t.float(), weights[k].float(), rtol=1e-5, atol=1e-6) for k, t in buffers.items())
