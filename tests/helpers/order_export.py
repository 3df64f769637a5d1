"""The layer graph that `torch.export` gives, to compare the recorder's order with."""

from typing import Any

import networkx as nx
import torch
from torch import fx, nn

from llpf_plugin.order import Inputs, LayerOrder
from llpf_plugin.order.derive import unwrap
from llpf_plugin.order.fdf import layer_graph
from llpf_plugin.order.layers import owners
from llpf_plugin.order.trace.flow import flow


def export_graph(model: nn.Module, inputs: Any) -> nx.DiGraph:
    """Export a module, without running it under our recorder, and reduce the exported program to layers."""
    model, call = unwrap(model), Inputs.of(inputs)
    # Torch 2.6 exports what caches its weights in the strict way alone.
    strict = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with torch.no_grad():  # else what the model does without gradients is one operation, whatever weights it reads
        program = torch.export.export(model.eval(), call.args, dict(call.kwargs), strict=strict)
    canonical = {id(parameter): name for name, parameter in model.named_parameters()}
    every = dict(model.named_parameters(remove_duplicate=False))
    signature = program.graph_signature
    user = set(signature.user_inputs)
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name not in user:
            copies[node] = graph.create_node("get_attr", node.name)
            if (name := signature.inputs_to_parameters.get(node.name)) is not None:
                copies[node].meta["parameter"] = canonical[id(every[name])]
        else:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    layers = owners(model)
    found = flow(graph, layers)
    return layer_graph(found.order, found.edges)[0]


def violations(order: LayerOrder, graph: nx.DiGraph) -> list[tuple[str, str]]:
    """List the edges of an exported graph that point backwards in the order."""
    place = {part: i for i, layer in enumerate(order.layers) for part in (layer.name, *layer.attached)}
    return [(a, b) for a, b in graph.edges if place[a] > place[b]]
