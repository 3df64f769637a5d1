"""`layer_order`: from a module to the order in which data meet its layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import networkx as nx
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from llpf_plugin.errors import OrderError
from llpf_plugin.order.fdf import Closure, contract, fdf_order, join_norms, layer_graph, levels_order
from llpf_plugin.order.layers import Owner, class_name, owners
from llpf_plugin.order.result import Layer, LayerOrder
from llpf_plugin.order.trace.forward import Call, Trace, listed, trace, trace_without_inputs


def layer_order(model: nn.Module, example_inputs: Any = None, *, order: Literal["fdf", "levels"] = "fdf") -> LayerOrder:
    """Derive in which order data meet the layers of a model.

    The model is run on the example inputs, in evaluation mode, and left exactly as it was: parameters, buffers,
    attributes, hooks, training flags and random generators. Wrappers (`DataParallel`, `DistributedDataParallel`,
    `torch.compile`) are looked through; names are those of the module inside.

    Args:
        model: Any module that runs.
        example_inputs: A tensor, a tuple of positional arguments, or a dict of keyword arguments. None: the module is
            read without running it, where that is possible, and the result is marked as not verified.
        order: `fdf`, the order of execution, satisfies Follow Data Flow. `levels` sorts by distance from the input.

    Raises:
        OrderError: The model has no parameters, has lazy ones, or does not run on the inputs.
    """
    if order not in ("fdf", "levels"):
        raise OrderError(f"Unknown order {order!r}. Choose 'fdf' or 'levels'.")
    model = unwrap(model)
    _check(model)
    layers = owners(model)
    if example_inputs is None:
        traced = trace_without_inputs(model, layers)
    else:
        traced = trace(model, Call.of(example_inputs), layers)
    return _assemble(model, layers, traced, order)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module inside wrappers that change nothing but how it is run."""
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
            f"{type(model).__name__} has lazy parameters without a shape ({', '.join(lazy[:4])}). "
            "Run the model once on real inputs before asking for its layer order."
        )
    if not any(True for _ in model.parameters()):
        raise OrderError(f"{type(model).__name__} has no parameters: there is nothing to order.")


def _assemble(model: nn.Module, layers: Mapping[str, Owner], traced: Trace, kind: str) -> LayerOrder:
    dag, back = layer_graph(traced.flow.order, traced.flow.edges)
    leader = join_norms(dag, layers)
    joined = contract(dag, leader)
    names = fdf_order(joined) if kind == "fdf" else levels_order(joined)
    members: dict[str, list[str]] = {name: [name] for name in names}
    for name in dag:
        if leader[name] != name:
            members[leader[name]].append(name)
    closure = Closure(joined, names)
    after, labels = closure.reduced_predecessors(joined), closure.parallel_labels()
    idle = [name for name in layers if name not in dag]
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}

    def layer(name: str) -> Layer:
        parts = [layers[part] for part in members.get(name, [name])]
        parameters = tuple(parameter for part in parts for parameter in part.parameters)
        return Layer(
            name=name,
            type=layers[name].type,
            parameters=parameters,
            attached=tuple(part.name for part in parts[1:]),
            numel=sum(sizes[parameter] for parameter in parameters),
            calls=traced.flow.calls.get(name, 0),
            parallel=labels.get(name),
            after=after.get(name, ()),
        )

    graph = nx.DiGraph()
    graph.add_nodes_from([*names, *idle])
    graph.add_edges_from(joined.edges)
    unused = tuple(sorted(set(sizes) - traced.flow.used, key=list(sizes).index))
    back_edges = dict.fromkeys((leader[a], leader[b]) for a, b in back)
    return LayerOrder(
        model=class_name(model),
        layers=tuple(layer(name) for name in [*names, *idle]),
        dag=graph,
        graph=traced.graph,
        unused=unused,
        back_edges=tuple(back_edges),
        tracer=traced.tracer,
        verified=traced.verified,
        warnings=(*traced.warnings, *_remarks(traced, layers, unused)),
        modules=_modules(model, layers),
        order=kind,
    )


def _remarks(traced: Trace, layers: Mapping[str, Owner], unused: tuple[str, ...]) -> list[str]:
    remarks = []
    if unused:
        remarks.append(f"No operation read {listed(unused)}; layers that hold nothing else stand last.")
    if left := [name for name in traced.flow.order if name in traced.flow.left]:
        remarks.append(
            f"Values left the graph (as numbers, or for numpy) behind {listed(left)}: the order is right, "
            "edges from there may be missing."
        )
    if traced.flow.foreign:
        remarks.append(
            f"Tensors that no recorded operation made (another thread, a global) reached "
            f"{listed(list(traced.flow.foreign))}: the order is right, edges to there may be missing."
        )
    return remarks


def _modules(model: nn.Module, layers: Mapping[str, Owner]) -> dict[str, str]:
    """Name the class of every module at or above a layer."""
    modules = dict(model.named_modules())
    above: dict[str, str] = {}
    for name in layers:
        parts = name.split(".")
        for path in (".".join(parts[: i + 1]) for i in range(len(parts))):
            if path in modules:
                above[path] = class_name(modules[path])
    return above
