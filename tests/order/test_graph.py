"""The layer graph in other programs' formats."""

import networkx as nx
import torch
from helpers import tiny

from llpf_plugin.order import annotated, graphml, layer_order, phases


def test_graphml_is_read_back_with_all_that_is_known() -> None:
    task = tiny.mlp()
    order = layer_order(task.model, task.example_inputs())
    cut = phases(order, "layer")
    graph, read = annotated(order, cut), nx.parse_graphml(graphml(order, cut))
    assert list(graph) == [layer.name for layer in order.layers]
    assert set(read.edges) == set(graph.edges) == {(a, layer.name) for layer in order.layers for a in layer.after}
    assert {name: dict(read.nodes[name]) for name in read} == {name: dict(graph.nodes[name]) for name in graph}
    assert read.graph["fingerprint"] == order.fingerprint
    first = order.layers[0]
    assert graph.nodes[first.name]["parameters"].split() == list(first.parameters)
    assert graph.nodes[first.name]["phase"] == cut[0].name


def test_names_that_xml_keeps_for_itself() -> None:
    model = torch.nn.Sequential()
    model.add_module('a<&>"b', torch.nn.Linear(2, 2))
    order = layer_order(model, torch.zeros(1, 2))
    assert list(nx.parse_graphml(graphml(order))) == ['a<&>"b']
