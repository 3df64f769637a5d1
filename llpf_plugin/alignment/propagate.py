"""Labels of axes passed through every operation of a traced network; what is left free to permute are its groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import fx, nn

from llpf_plugin.alignment.axes import Axes, Labels
from llpf_plugin.alignment.groups import Group, Place
from llpf_plugin.alignment.rules import rule_for
from llpf_plugin.order.trace.flow import operation


def propagate(model: nn.Module, graph: fx.Graph) -> list[Group]:
    """Every label of a stored tensor that is not fixed, with all its places; none of them is verified.

    Args:
        model: whose parameters and buffers, by name, the graph reads.
        graph: as the recorder writes it, with ``meta["shapes"]`` and ``meta["seen"]``.
    """
    return _Propagation(model).groups(graph)


class _Propagation:
    """Passes labels through a graph."""

    def __init__(self, model: nn.Module) -> None:
        self.labels = Labels()
        self.known: dict[fx.Node, Axes] = {}
        stored = model.state_dict(keep_vars=True)
        canonical = {id(p): name for name, p in model.named_parameters()}
        self.parameters = set(canonical.values())
        self.tensors = {canonical.get(id(t), name): t for name, t in stored.items() if t.is_floating_point()}
        self.own: dict[str, Axes] = {}

    def groups(self, graph: fx.Graph) -> list[Group]:
        """Every label of a stored tensor that is not fixed, with all its places."""
        for node in graph.nodes:
            self._visit(node)
        places: dict[int, list[Place]] = {}
        for name, axes in self.own.items():
            for i, axis in enumerate(axes):
                labels = self.labels.resolve(axis)
                for factor, label in enumerate(labels):
                    if not self.labels.is_fixed(label):
                        places.setdefault(label, []).append(Place(name, i, self.labels.sizes(labels), factor))
        return [Group(self._name(found), found[0].sizes[found[0].factor], tuple(found)) for found in places.values()]

    def _name(self, places: Sequence[Place]) -> str:
        """The first parameter whose outputs the units are."""
        first = min(places, key=lambda place: (place.tensor not in self.parameters, place.axis))
        inside = f"/{first.factor}" if len(first.sizes) > 1 else ""
        return f"{first.tensor}[{first.axis}{inside}]"

    def _visit(self, node: fx.Node) -> None:
        if node.op == "output":
            self._fix(node.all_input_nodes)
        elif node.op == "get_attr" and (name := node.meta.get("parameter", node.target)) in self.tensors:
            self.own[name] = self.known[node] = [self.labels.axis(n) for n in node.meta["shapes"][0]]
        elif node.op == "call_function" and node.meta.get("shapes"):
            self.known[node] = self._passed(node)
        else:
            self._fix(node.all_input_nodes)
            self.known[node] = self._fresh(node)

    def _passed(self, node: fx.Node) -> Axes:
        """The axes of an operation's first result."""
        shape = node.meta["shapes"][0]
        axes = [self._read(arg, seen) for arg, seen in zip(node.args, node.meta["seen"], strict=True)]
        pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ())
        rule = rule_for(operation(node), pointwise)
        if rule is not None and not node.kwargs.get("out"):
            try:
                result = rule(self.labels, axes, node.args, shape)
            except (IndexError, TypeError, ValueError):  # the operation was called in a way that the rule does not know
                result = None
            if result is not None and [self.labels.length(axis) for axis in result] == list(shape):
                return result
        self._fix(node.all_input_nodes)
        return self._fresh(node)

    def _read(self, value: Any, seen: Any) -> Any:
        """The axes of an argument, if it has the shape that the operation saw; of a list, each one's."""
        if isinstance(value, fx.Node):
            axes = self.known[value]
            if [self.labels.length(axis) for axis in axes] == list(seen):
                return axes
            self._fix([value])
            return [self.labels.axis(n, fixed=True) for n in seen]
        if isinstance(value, list | tuple) and any(isinstance(item, fx.Node) for item in value):
            if isinstance(seen, torch.Size):  # several parameters in one storage
                self._fix(item for item in value if isinstance(item, fx.Node))
                return [self.labels.axis(n, fixed=True) for n in seen]
            return [self._read(item, own) for item, own in zip(value, seen, strict=True)]
        return None

    def _fix(self, nodes: Iterable[fx.Node]) -> None:
        for node in nodes:
            self.labels.fix(*self.known[node])

    def _fresh(self, node: fx.Node) -> Axes:
        shapes = node.meta.get("shapes") or [()]
        return [self.labels.axis(n, fixed=True) for n in shapes[0]]
