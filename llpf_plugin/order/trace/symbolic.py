"""Read a module without running it: a symbolic trace, for when there are no example inputs.

The code of each module is followed with stand-ins for tensors. A class whose code cannot be followed (control flow on
values, foreign functions) becomes opaque: its layers are taken in the order of registration.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, fx, nn

from llpf_plugin.order.layers import Owner
from llpf_plugin.order.trace.flow import Flow, flow
from llpf_plugin.order.trace.restore import restored


class _Tracer(fx.Tracer):
    """Follows modules down to those of PyTorch, and notes the class that it could not follow."""

    def __init__(self, opaque: set[type[nn.Module]]) -> None:
        super().__init__(autowrap_functions=_timm("get_notrace_functions"))
        self.opaque = opaque
        self.failed: type[nn.Module] | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in self.opaque or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed = self.failed or type(m)
            raise


def symbolic_flow(model: nn.Module, layers: Mapping[str, Owner]) -> tuple[Flow, fx.Graph, list[str]]:
    """Trace symbolically, in evaluation mode.

    Returns:
        The flow, its graph, and the names of the classes that stayed opaque.

    Raises:
        Exception: whatever the model's own forward raised on stand-ins.
    """
    opaque: set[type[nn.Module]] = {nn.MultiheadAttention, nn.RNN, nn.LSTM, nn.GRU, *_timm("get_notrace_modules")}
    foreign: list[str] = []
    # What has a default keeps it: as a stand-in, an optional argument would look as if it had been given.
    signature = inspect.signature(model.forward).parameters.values()
    given = {p.name: p.default for p in signature if p.default is not p.empty}
    with restored(model, []):
        model.eval()
        while True:
            tracer = _Tracer(opaque)
            try:
                graph = tracer.trace(model, concrete_args=given)
                break
            except Exception:
                if tracer.failed is None:
                    raise
                opaque.add(tracer.failed)
                foreign.append(tracer.failed.__name__)
    return flow(graph, layers, _mark(graph, model)), graph, foreign


def registration_flow(layers: Mapping[str, Owner]) -> Flow:
    """The layers one after the other, in the order of registration."""
    names = list(layers)
    used = {parameter for layer in layers.values() for parameter in layer.parameters}
    return Flow(names, set(pairwise(names)), dict.fromkeys(names, 1), used)


def _mark(graph: fx.Graph, model: nn.Module) -> dict[str, list[str]]:
    """Mark the nodes of parameters; return the parameters below each module that the graph calls."""
    canonical = {id(parameter): name for name, parameter in model.named_parameters()}
    every = dict(model.named_parameters(remove_duplicate=False))
    called: dict[str, list[str]] = {}
    for node in graph.nodes:
        target = str(node.target)
        if node.op == "get_attr" and isinstance(every.get(target), Tensor):
            node.meta["parameter"] = canonical[id(every[target])]
        if node.op == "call_module":
            called[target] = [canonical[id(p)] for p in model.get_submodule(target).parameters()]
    return called


def _timm(function: str) -> tuple[Any, ...]:
    """What cannot be traced in timm, if it is in use."""
    found = getattr(sys.modules.get("timm.layers"), function, None)
    return tuple(found()) if found else ()
