"""The order is a topological order of the graph that `torch.export` gives."""

import networkx as nx
import pytest
import torch
from helpers.order_export import export_graph, violations
from helpers.order_modules import Repeated, Tied
from torch import nn

from llpf_plugin.order import layer_order
from llpf_plugin.tasks.networks.cct import CCT
from llpf_plugin.tasks.networks.dla import DLA

IMAGE = torch.zeros(1, 3, 32, 32)
CASES = {
    "cct": lambda: (CCT(dim=16), IMAGE),
    "dla": lambda: (DLA(width=4), IMAGE),
    "tied": lambda: (Tied(), {"ids": torch.zeros(2, 3, dtype=torch.long)}),
    "lstm": lambda: (nn.LSTM(3, 4, num_layers=3), torch.zeros(2, 1, 3)),
    "repeated": lambda: (Repeated(), torch.zeros(1, 4)),
    "transformer": lambda: (
        nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        (torch.zeros(1, 3, 8), torch.zeros(1, 4, 8)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_order_is_a_topological_order_of_the_exported_graph(name: str) -> None:
    model, inputs = CASES[name]()
    order, graph = layer_order(model, inputs), export_graph(model, inputs)
    assert graph.number_of_edges() and not violations(order, graph)
    if name in ("cct", "dla", "lstm"):  # nothing is written in place: the graphs must agree, not only the order
        joined = {part: layer.name for layer in order.layers for part in (layer.name, *layer.attached)}
        exported = nx.DiGraph((joined[a], joined[b]) for a, b in graph.edges if joined[a] != joined[b])
        assert set(exported.edges) == set(order.dag.edges)
