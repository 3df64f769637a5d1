"""What the recorder follows: writes in place, threads and checkpoints aside, values, numpy, conditions, scripts."""

import torch
from helpers.order_modules import Latents, ValueDependent
from helpers.orders import names
from torch import Tensor, nn

from llpf_plugin.order import layer_order


def test_direct_parameters_and_writes_into_slices() -> None:
    order = layer_order(Latents(), torch.zeros(2, 4))
    assert names(order) == ["weights.0", "inner", "token", "weights.1", "weights.2", "scale"]
    # The token is written into what the other two gave, as it would be concatenated to it.
    assert order["token"].after == ("weights.0", "inner") and order["weights.1"].after == ("token",)
    assert order["inner"].parallel == "1.1/2.2" and order["scale"].parallel == "1.2"


def test_control_flow_on_values_is_followed_and_named() -> None:
    order = layer_order(ValueDependent(), torch.zeros(1, 4))
    assert names(order) == ["a", "b"] and "numpy) behind a:" in order.warnings[0]


class Numpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.a = nn.Linear(4, 4), nn.Linear(4, 4)
        self.constant = torch.ones(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.from_numpy(self.a(x + self.constant + torch.tensor(1.0)).numpy()))


def test_a_way_through_numpy_keeps_the_order_and_is_named() -> None:
    order = layer_order(Numpy(), torch.zeros(1, 4))
    assert names(order) == ["a", "b"]
    assert "values left the graph (as numbers, or for numpy) behind a:" in order.warnings[0]


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last, self.no, self.yes = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cond(x.sum() > -1, self.yes, self.no, (x,)))


def test_of_a_functional_condition_the_branch_taken_is_followed() -> None:
    order = layer_order(Conditional(), torch.zeros(1, 4))
    assert names(order) == ["yes", "last", "no"] and order["last"].after == ("yes",)
    assert order.unused == ("no.weight", "no.bias")


def test_scripted_modules_are_followed() -> None:
    model = torch.jit.script(nn.Sequential(nn.Conv1d(1, 2, 1), nn.BatchNorm1d(2)))
    order = layer_order(model, torch.zeros(2, 1, 4))
    assert all(module.training for module in model.modules())
    assert [(layer.name, layer.type, layer.attached) for layer in order.layers] == [("0", "Conv1d", ("1",))]
