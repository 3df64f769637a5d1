"""Which layer owns a parameter: recurrent modules, parametrizations, containers."""

import pytest
import torch
from helpers.orders import names, resnet18
from torch import nn

from llpf_plugin.order import layer_order


def test_recurrent_layers_are_split_by_depth() -> None:
    order = layer_order(
        nn.Sequential(nn.Embedding(7, 4), nn.LSTM(4, 5, num_layers=2, bidirectional=True)), torch.ones(3, 2).long()
    )
    assert names(order) == ["0", "1.l0", "1.l1"]
    assert order["1.l1"].after == ("1.l0",) and len(order["1.l0"].parameters) == 8


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN, nn.LSTM])
def test_every_recurrent_kind_is_covered(kind: type[nn.Module]) -> None:
    order = layer_order(kind(3, 4, num_layers=3), torch.zeros(2, 1, 3))
    assert names(order) == ["l0", "l1", "l2"] and order["l2"].after == ("l1",) and not order.unused


def test_parametrizations_belong_to_their_host() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrizations.spectral_norm(model[1])
    nn.utils.parametrizations.orthogonal(model[2])
    order = layer_order(model, torch.zeros(1, 4))
    assert [(layer.name, layer.type) for layer in order.layers] == [(i, "Linear") for i in "012"]
    assert "0.parametrizations.weight.original1" in order["0"].parameters


def test_every_parameter_is_in_exactly_one_layer() -> None:
    model, order = resnet18()
    placed = [parameter for layer in order.layers for parameter in layer.parameters]
    assert sorted(placed) == sorted(name for name, _ in model.named_parameters())
