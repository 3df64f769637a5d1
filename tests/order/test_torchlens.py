"""The order is a topological order of the graph that torchlens logs; every parameter that it sees read is placed."""

import pytest
import torch
from helpers.order_export import violations
from helpers.order_modules import Repeated, Tied
from torch import nn

pytest.importorskip("torchlens", reason="torchlens is not installed")

from helpers.order_torchlens import torchlens_graph

from llpf_plugin.order import layer_order
from llpf_plugin.tasks.networks.cct import CCT
from llpf_plugin.tasks.networks.dla import DLA

IMAGE = torch.zeros(1, 3, 32, 32)
CASES = {
    "cct": lambda: (CCT(dim=16), IMAGE),
    "dla": lambda: (DLA(width=4), IMAGE),
    "tied": lambda: (Tied(), torch.zeros(2, 3, dtype=torch.long)),
    "lstm": lambda: (nn.LSTM(3, 4, num_layers=3), torch.zeros(2, 1, 3)),
    "repeated": lambda: (Repeated(), torch.zeros(1, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_order_is_a_topological_order_of_the_logged_graph(name: str) -> None:
    model, inputs = CASES[name]()
    order = layer_order(model, inputs)
    graph, unread = torchlens_graph(model, inputs)
    assert graph.number_of_edges() and not violations(order, graph)
    assert unread == set(order.unused)
