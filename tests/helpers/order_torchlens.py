"""The layer graph that torchlens gives, to compare the recorder's order with."""

from typing import Any

import networkx as nx
from torch import fx, nn

from llpf_plugin.order import Inputs
from llpf_plugin.order.derive import unwrap
from llpf_plugin.order.fdf import layer_graph
from llpf_plugin.order.layers import owners
from llpf_plugin.order.trace.flow import flow


def torchlens_graph(model: nn.Module, inputs: Any) -> tuple[nx.DiGraph, set[str]]:
    """Log a forward pass with torchlens, which patches torch's functions meanwhile, and reduce it to layers.

    Returns:
        The graph of layers, and the names of the parameters that no operation read.
    """
    import torchlens
    from torchlens.options import CaptureOptions

    model, call = unwrap(model).eval(), Inputs.of(inputs)
    few = CaptureOptions(
        layers_to_save=None, save_code_context=False, save_raw_input=False, save_raw_output=False, unwrap_when_done=True
    )
    log = torchlens.trace(model, call.args or None, dict(call.kwargs), capture=few)
    canonical = {id(parameter): name for name, parameter in model.named_parameters()}
    every = {name: canonical[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
    found = flow(_graph(log, every), owners(model))
    return layer_graph(found.order, found.edges)[0], {every[name] for name in log.unexecuted_param_names}


def _graph(log: Any, names: dict[str, str]) -> fx.Graph:
    """The operations of a log, in the order of execution, each with the parameters that it read."""
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}
    weights: dict[str, fx.Node] = {}
    for op in log.ops:
        if op.is_input:
            node = graph.placeholder(op.raw_label)
        else:
            parents = [nodes[label] for label in op.parents if label in nodes]
            for parameter in op.params:
                name = names[parameter.address]
                if name not in weights:
                    weights[name] = graph.create_node("get_attr", name)
                    weights[name].meta["parameter"] = name
                parents.append(weights[name])
            node = graph.call_function(_operation, tuple(parents))
            node.meta["operation"] = op.func_name
        nodes[op.label] = nodes[op.label.removesuffix(":1")] = node
    return graph


def _operation(*values: Any) -> None:
    """Stands for any operation; the graph is not run."""
