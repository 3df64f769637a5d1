"""From a module to the order in which data reaches its layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import networkx as nx
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from llpf_plugin.errors import OrderError
from llpf_plugin.order.fdf import Closure, contract, fdf_order, join_norms, layer_graph, levels_order
from llpf_plugin.order.layers import Owner, class_name, owners
from llpf_plugin.order.result import Layer, LayerOrder
from llpf_plugin.order.trace.forward import Trace, listed, trace, trace_without_inputs
from llpf_plugin.order.trace.inputs import Inputs


def layer_order(model: nn.Module, example_inputs: Any = None, *, order: Literal["fdf", "levels"] = "fdf") -> LayerOrder:
    """The order in which data reaches the layers of a model.

    The model is run on the example inputs, in evaluation mode, and left exactly as it was: parameters, buffers,
    attributes, hooks, training flags and random generators. Wrappers (``DataParallel``, ``DistributedDataParallel``,
    ``torch.compile``) are looked through; names are those of the module inside.

    Args:
        model: any module that runs.
        example_inputs: a tensor, a tuple of positional arguments, a dict of keyword arguments, or `Inputs` for all that
            these cannot say. None: the module is read without running it, where that is possible, and the result is
            marked as not verified.
        order: ``fdf``, the order of execution, satisfies Follow Data Flow (arXiv 2505.02604); ``levels`` sorts by
            distance from the input.

    Raises:
        OrderError: the model has no parameters, or lazy ones, or does not run on the inputs.
    """
    if order not in ("fdf", "levels"):
        raise OrderError(f"unknown order {order!r}; choose fdf or levels")
    model = unwrap(model)
    _check(model)
    layers = owners(model)
    if example_inputs is None:
        traced = trace_without_inputs(model, layers)
    else:
        traced = trace(model, Inputs.of(example_inputs), layers)
    return _assemble(model, layers, traced, order)


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside wrappers that change nothing but how it is run."""
    while True:
        if isinstance(model, nn.DataParallel | DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def _check(model: nn.Module) -> None:
    lazy = [name for name, parameter in model.named_parameters() if nn.parameter.is_lazy(parameter)]
    if lazy:
        raise OrderError(
            f"{type(model).__name__} has lazy parameters without a shape ({', '.join(lazy[:4])}); "
            "run the model once on real inputs before asking for its layer order"
        )
    if not any(True for _ in model.parameters()):
        raise OrderError(f"{type(model).__name__} has no parameters: there is nothing to order")


def _assemble(model: nn.Module, layers: Mapping[str, Owner], traced: Trace, kind: str) -> LayerOrder:
    dag, back = layer_graph(traced.flow.order, traced.flow.edges)
    leader = join_norms(dag, layers)
    joined = contract(dag, leader)
    names = fdf_order(joined) if kind == "fdf" else levels_order(joined)
    graph = nx.DiGraph()
    graph.add_nodes_from([*names, *(name for name in layers if name not in dag)])
    graph.add_edges_from(joined.edges)
    parameters = [name for name, _ in model.named_parameters()]
    unused = tuple(name for name in parameters if name not in traced.flow.used)
    return LayerOrder(
        model=class_name(model),
        layers=tuple(_layers(model, layers, traced, leader, joined, graph)),
        dag=graph,
        graph=traced.graph,
        unused=unused,
        back_edges=tuple(dict.fromkeys((leader[a], leader[b]) for a, b in back)),
        tracer=traced.tracer,
        verified=traced.verified,
        warnings=(*traced.warnings, *_remarks(traced, unused)),
        modules=_modules(model, layers),
        order=kind,
    )


def _layers(
    model: nn.Module,
    layers: Mapping[str, Owner],
    traced: Trace,
    leader: Mapping[str, str],
    joined: nx.DiGraph,
    names: Iterable[str],
) -> Iterator[Layer]:
    """The layers of those names, each with the norms that follow it as their leader."""
    attached: dict[str, list[str]] = {}
    for name, first in leader.items():
        if name != first:
            attached.setdefault(first, []).append(name)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    closure = Closure(joined, [name for name in names if name in joined])
    after, labels = closure.reduced_predecessors(joined), closure.parallel_labels()
    for name in names:
        norms = attached.get(name, [])
        parameters = tuple(parameter for part in (name, *norms) for parameter in layers[part].parameters)
        yield Layer(
            name=name,
            type=layers[name].type,
            parameters=parameters,
            attached=tuple(norms),
            numel=sum(sizes[parameter] for parameter in parameters),
            calls=traced.flow.calls.get(name, 0),
            parallel=labels.get(name),
            after=after.get(name, ()),
        )


def _remarks(traced: Trace, unused: Sequence[str]) -> list[str]:
    """What is not certain about an order, in words."""
    remarks = []
    if unused:
        remarks.append(f"no operation read {listed(unused)}; layers that hold nothing else stand last")
    if left := [name for name in traced.flow.order if name in traced.flow.left]:
        remarks.append(
            f"values left the graph (as numbers, or for numpy) behind {listed(left)}: the order is right, "
            "edges from there may be missing"
        )
    if traced.flow.foreign:
        remarks.append(
            "tensors that no recorded operation made (another thread, a global) reached "
            f"{listed(list(traced.flow.foreign))}: the order is right, edges to there may be missing"
        )
    return remarks


def _modules(model: nn.Module, layers: Mapping[str, Owner]) -> dict[str, str]:
    """The class of every module at or above a layer, by path."""
    modules = dict(model.named_modules())
    above: dict[str, str] = {}
    for name in layers:
        parts = name.split(".")
        for path in (".".join(parts[: i + 1]) for i in range(len(parts))):
            if path in modules:
                above[path] = class_name(modules[path])
    return above
