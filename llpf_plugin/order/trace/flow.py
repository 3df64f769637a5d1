"""From tensor operations to a flow between layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import fx

from llpf_plugin.order.layers import Owner

# Operations that turn weights into activations even where no data reaches them: an embedding of constant positions,
# a small network on constant coordinates. Every other operation on weights alone only prepares a weight.
_COMPUTES = re.compile(
    r"^(?!_?upsample)"  # bilinear resizing is none
    r"(mm|\w*(embedding|linear|addmm|bmm|matmul|conv(?!ert)|layer_norm|group_norm|batch_norm|instance_norm|rms_norm"
    r"|scaled_dot_product|rnn|lstm|gru|call_module))"
)

_RECURRENT = re.compile(r"rnn|lstm|gru")


@dataclass
class Flow:
    """What one trace says about layers.

    Attributes:
        order: layers in the order in which data first reached them.
        edges: pairs of layers (a, b): what a computed reached a use of b.
        calls: in how many module calls each layer took part.
        used: parameters that an operation read.
        left: layers whose values left the graph, as Python numbers or as arrays of numpy.
        foreign: modules that read a tensor which no recorded operation made.
    """

    order: list[str] = field(default_factory=list)
    edges: set[tuple[str, str]] = field(default_factory=set)
    calls: dict[str, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    foreign: dict[str, None] = field(default_factory=dict)


def flow(graph: fx.Graph, layers: Mapping[str, Owner], opaque: Mapping[str, list[str]] | None = None) -> Flow:
    """Reduce a graph of operations to a flow between layers.

    Each activation carries its *front*: the layers that data left last on the way to it. A value that was made of
    weights alone carries the layers of these weights, and meets data where an operation has both.

    Args:
        graph: operations in execution order; ``meta["parameter"]`` marks the nodes of parameters.
        layers: the layers by name.
        opaque: for ``call_module`` nodes, the parameters below the module, in order of registration.
    """
    reduction = _Reduction(layers, opaque or {})
    for step, node in enumerate(graph.nodes):
        reduction.visit(step, node)
    return reduction.result()


class _Reduction:
    """The state of `flow` on its way through a graph."""

    def __init__(self, layers: Mapping[str, Owner], opaque: Mapping[str, list[str]]) -> None:
        self.owner = {name: layer.name for layer in layers.values() for name in layer.parameters}
        self.registered = {name: i for i, name in enumerate(layers)}
        self.opaque = opaque
        self.weights: dict[fx.Node, tuple[str, ...]] = {}
        self.fronts: dict[fx.Node, frozenset[str]] = {}
        self.touched: dict[str, int] = {}
        self.first: dict[str, tuple[int, int, int]] = {}  # step, step of first touch, place of registration
        self.sites: dict[str, set[object]] = {}
        self.flow = Flow()

    def visit(self, step: int, node: fx.Node) -> None:
        """Pass fronts through one operation."""
        if node.op == "get_attr":
            name = node.meta.get("parameter")
            self.weights[node] = (self.owner[name],) if name else ()
            return
        if node.op == "placeholder":
            self.fronts[node] = frozenset()
            return
        own = self._own(node)
        for name in own:
            self.touched.setdefault(name, step)
        if node.op == "output":
            return
        data = [self.fronts[source] for source in node.all_input_nodes if source in self.fronts]
        if not data and not (own and _COMPUTES.search(operation(node))):
            self.weights[node] = own
            return
        front = frozenset().union(*data)
        for name in own:
            self.first.setdefault(name, (step, self.touched[name], self.registered[name]))
            self.sites.setdefault(name, set()).add(_call(node, name))
        # Inside a fused recurrent operation, and in an opaque module for all we know, layers stand one after the other.
        in_series = node.op == "call_module" or _RECURRENT.search(operation(node))
        for names in [(name,) for name in own] if in_series else [own]:
            front = self._meet(names, front) if names else front
        if operation(node) != "lift_fresh" and any("foreign" in source.meta for source in node.all_input_nodes):
            self.flow.foreign[(node.meta.get("calls") or [("", 0)])[-1][0] or "the model"] = None
        if operation(node) in ("_local_scalar_dense", "leave"):
            self.flow.left |= front
        self.fronts[node] = front

    def _own(self, node: fx.Node) -> tuple[str, ...]:
        """The layers whose weights an operation uses."""
        sources = node.all_input_nodes
        inside = self.opaque.get(str(node.target), []) if node.op == "call_module" else []
        self.flow.used.update(source.meta["parameter"] for source in sources if "parameter" in source.meta)
        self.flow.used.update(inside)
        names = [name for source in sources for name in self.weights.get(source, ())]
        return _unique([*names, *(self.owner[parameter] for parameter in inside)])

    def _meet(self, names: tuple[str, ...], front: frozenset[str]) -> frozenset[str]:
        """Let data from ``front`` meet the weights of ``names`` in one operation; return the new front."""
        first = self.first
        self.flow.edges.update((a, b) for a in front for b in names if a != b)
        self.flow.edges.update((a, b) for a in names for b in names if first[a][0] < first[b][0])
        # Behind a module that is called again stands, besides it, what came between its first call and this one: the
        # edge from there points back and will not be kept.
        return frozenset(names) | {a for a in front if all(first[a] > first[b] for b in names)}

    def result(self) -> Flow:
        """Sort the layers by first use.

        A weight that never met data (a temperature that is returned as it is) stands where it was touched.
        """
        for name, step in self.touched.items():
            self.first.setdefault(name, (step, step, self.registered[name]))
        self.flow.order = sorted(self.first, key=self.first.__getitem__)
        self.flow.calls = {name: max(1, len(self.sites.get(name, ()))) for name in self.flow.order}
        return self.flow


def operation(node: fx.Node) -> str:
    """The name of a node's operation, whatever tracer made it."""
    if node.op == "call_module":
        return "call_module"
    name = node.meta.get("operation") or getattr(node.target, "__name__", str(node.target))
    return str(name).partition(".")[0]


def _call(node: fx.Node, layer: str) -> object:
    """The module call that an operation belongs to: its layer's own, else the innermost around it."""
    calls = node.meta.get("calls") or ((None, node),)
    return next((call for call in calls if call[0] == layer), calls[-1])


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def merge(base: Flow, extra: Flow) -> list[str]:
    """Add to ``base`` the layers that only ``extra`` saw, each behind the layer that it followed there.

    Returns:
        The layers that were added.
    """
    known = set(base.order)
    added = [name for name in extra.order if name not in known]
    for name in added:
        before = extra.order[: extra.order.index(name)]
        previous = next((other for other in reversed(before) if other in known), None)
        base.order.insert(base.order.index(previous) + 1 if previous else 0, name)
        base.calls[name] = extra.calls[name]
        known.add(name)
    new = set(added)
    base.edges |= {(a, b) for a, b in extra.edges if a in new or b in new}
    base.used |= extra.used
    return added
