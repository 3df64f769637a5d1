"""Training an endpoint: a function of the seed, by the task's recipe."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import tiny
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from llpf_plugin import Recipe, Task, load_task
from llpf_plugin.errors import TaskError
from llpf_plugin.evaluation import evaluate
from llpf_plugin.geometry import Weights, clone
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


class Positions(nn.Module):
    """A bare parameter, and a layer that its owner initialises anew."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 6), std=0.2))
        self.fc = nn.Linear(6, 3)
        nn.init.normal_(self.fc.weight, std=7.0)
        nn.init.constant_(self.fc.bias, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x + self.position)


def initial(task: Task, seed: int) -> Weights:
    initialise(task, seed)
    return clone(task.model.state_dict())


def test_initial_weights_are_those_that_the_constructor_draws() -> None:
    task = replace(tiny.mlp(), model=Positions(), build=Positions)
    found = initial(task, 5)
    torch.manual_seed(5)
    assert tiny.same(found, Positions().state_dict())
    assert float(found["fc.weight"].std()) > 3 and bool((found["fc.bias"] == 0.5).all())


def test_ends_of_two_seeds_have_no_parameter_in_common() -> None:
    task = replace(tiny.mlp(), model=Positions(), build=Positions, recipe=Recipe(epochs=0.1))
    a, again, b = initial(task, 1), initial(task, 1), initial(task, 2)
    assert tiny.same(a, again)
    assert abs(float(torch.cosine_similarity(a["position"], b["position"]))) < 0.9
    ends = [train(task, seed) for seed in (1, 1, 2)]
    assert tiny.same(ends[0], ends[1]) and not torch.equal(ends[0]["position"], ends[2]["position"])


@pytest.mark.parametrize("name", ["digits/mlp", "digits/resnet", "digits/transformer"])
def test_built_in_networks_start_apart_in_every_random_tensor(name: str) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    task = load_task(name, {"width": 8})
    a, b = initial(task, 1), initial(task, 2)
    for key, tensor in a.items():
        constant = tensor.float().var(unbiased=False) == 0  # of normalizations, and counters
        assert constant or abs(float(torch.cosine_similarity(tensor.flatten(), b[key].flatten(), 0))) < 0.9, key


def test_another_network_than_the_tasks_is_refused() -> None:
    task = replace(tiny.mlp(), model=Positions())
    with pytest.raises(TaskError, match="'tiny/mlp' makes another network than its model"):
        initialise(task, 0)


def rates(recipe: Recipe | None = None, **options: Any) -> list[float]:
    """The learning rate of every step."""
    seen: list[float] = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    try:
        train(replace(tiny.mlp(), recipe=recipe or Recipe()), 0, **options)
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


def test_a_cosine_falls_to_its_end() -> None:
    expected = [0.02 + 0.08 * (1 + math.cos(math.pi * step / 30)) / 2 for step in range(30)]
    assert rates(Recipe(10, lr=0.1, schedule="cosine", final_lr=0.02)) == pytest.approx(expected)


def test_the_rate_is_a_tenth_after_every_milestone() -> None:
    recipe = Recipe(10, lr=0.1, schedule="multi-step", milestones=(4, 7))
    assert rates(recipe) == pytest.approx([0.1] * 12 + [0.01] * 9 + [0.001] * 9)
    assert rates(recipe, epochs=5) == pytest.approx([0.1] * 6 + [0.01] * 4 + [0.001] * 5)


def test_a_warm_up_is_a_line_and_then_a_cosine() -> None:
    recipe = Recipe(10, lr=0.1, schedule="warmup-cosine", final_lr=0.02, warmup=2, optimizer="adamw")
    rise = [0.02 + 0.08 * step / 6 for step in range(6)]
    fall = [0.02 + 0.08 * (1 + math.cos(math.pi * step / 24)) / 2 for step in range(24)]
    assert rates(recipe) == pytest.approx([*rise, *fall])
    assert rates(recipe, epochs=5)[3] == pytest.approx(0.1), "the warm-up takes the same share of a shorter training"


@pytest.mark.parametrize(("optimizer", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_is_the_recipes(optimizer: Any, kind: type) -> None:
    seen: list[torch.optim.Optimizer] = []
    handle = register_optimizer_step_pre_hook(lambda own, *_: seen.append(own))
    recipe = Recipe(1, lr=0.01, weight_decay=0.3, optimizer=optimizer, momentum=0.7, schedule="constant", batch_size=48)
    try:
        train(replace(tiny.mlp(), recipe=recipe), 0)
    finally:
        handle.remove()
    assert len(seen) == 2 and type(seen[0]) is kind, "96 examples in batches of 48"
    group = seen[0].param_groups[0]
    assert group["weight_decay"] == 0.3 and group.get("momentum", 0.7) == 0.7


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"schedule": "linear"}, r"Recipe\(schedule='linear'\) is not one of constant, one-cycle, cosine"),
        ({"optimizer": "adam"}, r"Recipe\(optimizer='adam'\) is not one of sgd, adamw"),
        ({"epochs": 0}, "must be above 0"),
        ({"lr": 0.1, "final_lr": 0.2}, "final_lr between 0 and lr"),
        ({"schedule": "warmup-cosine", "final_lr": 0.01}, "takes more than 0 and less than 30 epochs"),
        ({"schedule": "warmup-cosine", "warmup": 2}, "starts at a final_lr above 0"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        Recipe(**wrong)


def test_the_recipe_is_the_tasks_unless_another_is_given() -> None:
    task = replace(tiny.mlp(), recipe=Recipe(epochs=2, lr=0.2))
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
