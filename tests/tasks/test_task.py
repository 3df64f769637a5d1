"""The task itself: its objective, its splits on a device, its model made again, what its model is called with."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import tiny
from torch import Tensor, nn

from llpf_plugin import Task, TensorData, classification
from llpf_plugin.errors import OrderError, TaskError
from llpf_plugin.order import Inputs, layer_order


def test_classification_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 5.0]])
    loss, correct = classification(nn.Identity(), (logits, torch.tensor([0, 0, 0])))
    expected = (0.693147 + 0.126928 + 5.006715) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-5) and int(correct) == 2


def test_an_objective_may_return_the_loss_alone(mlp: Task) -> None:
    data = TensorData(torch.ones(4, 6), torch.zeros(4))
    task = Task(mlp.model, data, objective=lambda model, batch: model(batch[0]).square().mean())
    loss, correct = task.score(data.batch(4, 0, 0))
    assert loss.shape == () and correct is None


def test_to_moves_model_and_every_split() -> None:
    task = tiny.mlp().to("meta")
    assert next(task.model.parameters()).is_meta
    assert task.train.inputs.is_meta and task.validation.targets.is_meta and task.test.inputs.is_meta


# The model made again -------------------------------------------------------------------------------------------------


def test_a_fresh_model_is_made_under_its_seed_and_leaves_the_tasks_alone() -> None:
    task = replace(tiny.mlp(), build=lambda: nn.Linear(6, 3))
    own = {k: t.clone() for k, t in task.model.state_dict().items()}
    one, same, other = (task.fresh_model(seed).weight for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert tiny.same(task.model.state_dict(), own)


def test_a_task_that_was_given_a_model_cannot_make_it_again(mlp: Task) -> None:
    with pytest.raises(TaskError, match=r"'tiny/mlp' cannot make its model again: give Task\(…, build=…\)"):
        replace(mlp, build=None).fresh_model(0)


def test_a_model_that_is_made_under_a_seed_of_its_own_is_refused(mlp: Task) -> None:
    def build() -> nn.Module:
        torch.manual_seed(5)
        return nn.Linear(6, 3)

    with pytest.raises(TaskError, match=r"'tiny/mlp' sets torch's seed to 5 while it makes its model"):
        replace(mlp, build=build).fresh_model(0)


# What the model is called with ----------------------------------------------------------------------------------------


def shapes(inputs: Inputs) -> list[tuple[int, ...]]:
    return [tuple(t.shape) for t in inputs.tensors()]


def test_example_inputs_are_two_examples_as_the_objective_calls_the_model_with(conv: Task) -> None:
    inputs = conv.example_inputs()
    assert shapes(inputs) == [(2, 1, 5, 5)] and len(inputs.args) == 1 and not inputs.kwargs
    assert torch.equal(inputs.args[0], conv.train.inputs[:2])


class Attentive(nn.Module):
    """Takes a mask by name."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor, *, mask: Tensor, scale: float = 1.0) -> Tensor:
        return self.fc(x * mask) * scale


def test_keyword_arguments_are_overheard_too() -> None:
    def objective(model: nn.Module, batch: Any) -> Tensor:
        return model(batch[0] / 2, mask=torch.ones(6), scale=3.0).square().mean()

    task = replace(tiny.mlp(), model=Attentive(), objective=objective)
    inputs = task.example_inputs()
    assert torch.equal(inputs.args[0], task.train.inputs[:2] / 2)
    assert inputs.kwargs["mask"].tolist() == [1.0] * 6 and inputs.kwargs["scale"] == 3.0
    assert [layer.name for layer in layer_order(task.model, inputs).layers] == ["fc"]


def test_overhearing_neither_runs_nor_marks_the_model() -> None:
    class Never(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("the model was run")

    task = replace(tiny.mlp(), model=Never(6, 3))
    assert shapes(task.example_inputs()) == [(2, 6)] and not task.model._forward_pre_hooks


def test_overheard_is_the_first_call() -> None:
    def objective(model: nn.Module, batch: Any) -> Tensor:
        return model(batch[0]).sum() + model(batch[0][:1]).sum()

    assert shapes(replace(tiny.mlp(), objective=objective).example_inputs()) == [(2, 6)]


def test_an_objective_that_calls_a_part_of_the_model_says_what_to_do() -> None:
    def objective(model: nn.Module, batch: Any) -> Tensor:
        return model[2](model[1](model[0](batch[0]))).sum()

    task = replace(tiny.mlp(), objective=objective)
    with pytest.raises(OrderError, match=r"objective of 'tiny/mlp' does not call the model itself.*Task\(…, inputs="):
        task.example_inputs()
    said = replace(task, inputs=lambda batch: batch[0])
    assert shapes(said.example_inputs()) == [(2, 6)]


def test_an_objective_that_fails_before_it_calls_the_model_is_not_swallowed(mlp: Task) -> None:
    def objective(model: nn.Module, batch: Any) -> Tensor:
        raise KeyError("labels")

    task = replace(mlp, objective=objective)
    with pytest.raises(TaskError, match="KeyError: 'labels'"):
        task.example_inputs()
    assert not task.model._forward_pre_hooks


@pytest.mark.parametrize(
    ("said", "args", "kwargs"),
    [
        (lambda batch: batch[0], 1, []),
        (lambda batch: (batch[0], batch[1]), 2, []),
        (lambda batch: {"x": batch[0], "mask": batch[1]}, 0, ["x", "mask"]),
        (lambda batch: Inputs((batch[0],), {"mask": batch[1]}), 1, ["mask"]),
    ],
    ids=["a tensor", "a tuple", "a mapping", "inputs"],
)
def test_inputs_say_what_the_model_is_called_with(mlp: Task, said: Any, args: int, kwargs: list[str]) -> None:
    inputs = replace(mlp, inputs=said).example_inputs()
    assert len(inputs.args) == args and list(inputs.kwargs) == kwargs
    assert shapes(inputs)[0] == (2, 6)
