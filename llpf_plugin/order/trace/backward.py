"""The data flow read backwards, from the autograd graph of a result.

It shows less than the recorder (nothing that ran without gradients), but it also shows what other threads computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import networkx as nx
from torch import Tensor, fx, nn


def seen_backwards(*inputs: Any) -> None:
    """Stands for an operation of which only the backward function is known (``meta["operation"]`` names it)."""


def backward_graph(model: nn.Module, results: Iterable[Tensor]) -> fx.Graph:
    """The autograd graph of a model's results as a graph of operations.

    Sequence numbers count per thread, so they only break ties between functions that do not depend on each other.

    Args:
        model: tells parameters from inputs.
        results: tensors with a ``grad_fn``; others are ignored.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tensors = list(results)
    functions = _functions(tensor.grad_fn for tensor in tensors)
    dag = nx.DiGraph()
    dag.add_nodes_from(functions)
    dag.add_edges_from((source, function) for function in functions for source in _sources(function))
    graph = fx.Graph()
    nodes: dict[Any, fx.Node] = {}
    for function in nx.lexicographical_topological_sort(dag, key=lambda f: (f._sequence_nr(), functions[f])):
        variable = getattr(function, "variable", None)
        if variable is None:
            inputs = tuple(dict.fromkeys(nodes[source] for source in _sources(function)))
            nodes[function] = graph.call_function(seen_backwards, inputs)
            nodes[function].meta["operation"] = _snake(function.name())
        elif name := names.get(id(variable)):
            nodes[function] = graph.create_node("get_attr", name, name=name.replace(".", "_"))
            nodes[function].meta["parameter"] = name
        else:
            nodes[function] = graph.create_node("placeholder", f"input_{len(nodes)}")
    graph.output(tuple(nodes[tensor.grad_fn] for tensor in tensors if tensor.grad_fn is not None))
    return graph


def _functions(roots: Iterable[Any]) -> dict[Any, int]:
    """All backward functions behind the roots, numbered."""
    found: dict[Any, int] = {}
    stack = [root for root in roots if root is not None]
    while stack:
        function = stack.pop()
        if function not in found:
            found[function] = len(found)
            stack.extend(_sources(function))
    return found


def _sources(function: Any) -> list[Any]:
    return [source for source, _ in function.next_functions if source is not None]


def _snake(name: str) -> str:
    """The operation of a backward function: ``NativeLayerNormBackward0`` is ``native_layer_norm``."""
    plain = re.sub(r"Backward\d*$", "", name.rpartition("::")[2])
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain).lower()
