"""Whether two sets of weights compute the same."""

import pytest
import torch
from helpers import tiny
from torch import nn

from llpf_plugin.evaluation import difference_of_outputs


def test_it_is_relative_to_the_largest_output_and_leaves_the_model_as_it_was() -> None:
    model, x = nn.Linear(2, 1, bias=False), torch.tensor([[2.0, 1.0]])
    before = model.weight.detach().clone()
    one, other = {"weight": torch.tensor([[2.0, 1.0]])}, {"weight": torch.tensor([[2.0, 0.5]])}
    assert difference_of_outputs(model, x, one, other) == pytest.approx(0.1)  # 0.5 of 5
    assert difference_of_outputs(model, x, one, one) == 0
    assert difference_of_outputs(model, x, one, {"weight": torch.tensor([[float("nan"), 1.0]])}) == float("inf")
    assert torch.equal(model.weight, before) and model.training


def test_statistics_are_those_of_the_weights_and_stay() -> None:
    task, (a, b) = tiny.conv(), tiny.pair("conv")
    before = {k: t.clone() for k, t in task.model.state_dict().items()}
    assert difference_of_outputs(task.model, task.example_inputs(), a, b) > 0.1
    shifted = {**a, "bn1.running_mean": a["bn1.running_mean"] + 1}
    assert difference_of_outputs(task.model, task.example_inputs(), a, shifted) > 0.01
    assert tiny.same(task.model.state_dict(), before)
