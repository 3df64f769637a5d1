"""Labels of axes passed through every operation of a traced network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from llpf_plugin.alignment.axes import Axes, Labels
from llpf_plugin.alignment.rules import rule_for
from llpf_plugin.alignment.shape_rules import Several
from llpf_plugin.order.trace.flow import operation


def propagate(model: nn.Module, graph: fx.Graph) -> tuple[Labels, dict[str, Axes]]:
    """The labels of a graph, and the axes of every stored tensor that it reads, by name.

    Args:
        model: whose parameters and buffers, by name, the graph reads.
        graph: as the recorder writes it, with ``meta["shapes"]``, ``meta["seen"]`` and ``meta["picked"]``.
    """
    propagation = _Propagation(model)
    for node in graph.nodes:
        propagation.visit(node)
    return propagation.labels, {name: propagation.own[name] for name in propagation.tensors if name in propagation.own}


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, then buffers, of the state dict: those of floating point, tied ones under their first name."""
    canonical = {id(p): name for name, p in model.named_parameters()}
    stored = model.state_dict(keep_vars=True)
    found = {canonical.get(id(t), name): t for name, t in stored.items() if t.is_floating_point()}
    return {**{name: found[name] for name in canonical.values() if name in found}, **found}


class _Propagation:
    """Passes labels through a graph."""

    def __init__(self, model: nn.Module) -> None:
        self.labels = Labels()
        self.known: dict[fx.Node, Several] = {}
        self.parameters = {name for name, _ in model.named_parameters()}
        self.tensors = stored_tensors(model)
        self.own: dict[str, Axes] = {}

    def visit(self, node: fx.Node) -> None:
        """Give a node's results their axes."""
        if node.op == "output":
            self._fix(node.all_input_nodes, "the network's outputs")
        elif node.op == "get_attr" and (name := node.meta.get("parameter", node.target)) in self.tensors:
            self.known[node] = self._stored(name, node)
        elif node.op == "call_function" and node.meta.get("shapes"):
            self.known[node] = self._passed(node)
        else:
            self._fix(node.all_input_nodes, "what reads it is not followed")
            self.known[node] = self._fresh(node)

    def _stored(self, name: str, node: fx.Node) -> Several:
        axes = [self.labels.axis(n) for n in node.meta["shapes"][0]]
        if node.users:  # what nothing reads is in no group
            self.own[name] = axes
        if name in self.parameters and len(axes) == 1 and axes[0]:
            self.labels.vectors.add(axes[0][0])
        return Several([axes])

    def _passed(self, node: fx.Node) -> Several:
        """The axes of an operation's results; where a rule knows the first one's only, the others are fixed."""
        shapes, meta = node.meta["shapes"], node.meta
        axes = [self._read(*one) for one in zip(node.args, meta["seen"], meta["picked"], strict=True)]
        rule = rule_for(operation(node), torch.Tag.pointwise in getattr(node.target, "tags", ()))
        if rule is not None and not node.kwargs.get("out"):
            try:
                result = rule(self.labels, axes, node.args, shapes[0])
            except (IndexError, TypeError, ValueError):  # the operation was called in a way that the rule does not know
                result = None
            if result is not None:
                several = result if isinstance(result, Several) else Several([result, *self._fresh(node)[1:]])
                if [[self.labels.length(axis) for axis in one] for one in several] == [list(one) for one in shapes]:
                    return several
        self._fix(node.all_input_nodes, f"the operation {operation(node)} has no rule for it")
        return self._fresh(node)

    def _read(self, value: Any, seen: Any, picked: Any) -> Any:
        """The axes of an argument, if it has the shape that the operation saw; of a list, each one's."""
        if isinstance(value, fx.Node):
            axes = self.known[value][picked] if picked < len(self.known[value]) else None
            if axes is not None and [self.labels.length(axis) for axis in axes] == list(seen):
                return axes
            self._fix([value], "it is read in another shape")
            return [self.labels.fixed_axis(n) for n in seen]
        if isinstance(value, list | tuple) and any(isinstance(item, fx.Node) for item in value):
            if isinstance(seen, torch.Size):  # several parameters in one storage
                self._fix((item for item in value if isinstance(item, fx.Node)), "it shares its memory with others")
                return [self.labels.fixed_axis(n) for n in seen]
            return [self._read(*one) for one in zip(value, seen, picked, strict=True)]
        return None

    def _fix(self, nodes: Iterable[fx.Node], why: str) -> None:
        for node in nodes:
            for axes in self.known[node]:
                self.labels.fix(*axes, why=why)

    def _fresh(self, node: fx.Node) -> Several:
        shapes = node.meta.get("shapes") or [()]
        return Several([self.labels.fixed_axis(n) for n in shape] for shape in shapes)
