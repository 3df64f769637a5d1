"""Permutation symmetries of a network, from its trace: which units may change places while it computes the same.

Git Re-Basin (Ainsworth et al., 2023) writes these down by hand for each architecture. Here labels of axes are passed
through every recorded operation, and residual streams, BatchNorm statistics, attention heads and tied weights fall into
place. Each group is then tried: its units are shuffled in a copy of the network with random weights, in float64. A
group that changes the output is left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from llpf_plugin.alignment.axes import Labels
from llpf_plugin.alignment.rules import Axes, rule_for
from llpf_plugin.errors import OrderError
from llpf_plugin.order.derive import unwrap
from llpf_plugin.order.trace.flow import operation
from llpf_plugin.order.trace.forward import Call, record
from llpf_plugin.order.trace.tensors import tensors_in

EXACT = 1e-9
"""Relative change of the output, in float64, that rounding in another order may make."""


@dataclass(frozen=True)
class Place:
    """Where the units of a group are: ``tensor``'s axis ``axis``, seen as ``sizes``, whose ``factor``-th it is."""

    tensor: str
    axis: int
    sizes: tuple[int, ...]
    factor: int

    def permute(self, tensor: Tensor, permutation: Tensor) -> Tensor:
        """The tensor with its units in another order: the i-th is the ``permutation[i]``-th of before."""
        shape = tensor.shape
        split = tensor.reshape(*shape[: self.axis], *self.sizes, *shape[self.axis + 1 :])
        return split.index_select(self.axis + self.factor, permutation.to(tensor.device)).reshape(shape)

    def rows(self, tensor: Tensor) -> Tensor:
        """The tensor as ``[units, all the rest]``."""
        shape = tensor.shape
        split = tensor.reshape(*shape[: self.axis], *self.sizes, *shape[self.axis + 1 :])
        return split.movedim(self.axis + self.factor, 0).reshape(self.sizes[self.factor], -1)


@dataclass(frozen=True)
class Group:
    """Units that can be exchanged among each other, and everywhere that they are seen.

    Attributes:
        name: the first place, as ``tensor[axis]``.
        size: the number of units.
        places: all of them; one permutation goes to each.
    """

    name: str
    size: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Symmetry:
    """The permutation symmetries of a network.

    Attributes:
        groups: each verified; permutations of several of them can be combined.
        rejected: names of groups that changed the output when they were tried.
        left: parameters of two or more axes whose outputs (first axis) are in no group: they stay as they are.
    """

    groups: tuple[Group, ...]
    rejected: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def permute(self, weights: Mapping[str, Tensor], permutations: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights that compute the same, with their units in another order.

        Args:
            weights: parameters and buffers by name; not changed.
            permutations: by group name, 1-d of its size; groups that are not named stay.
        """
        result = dict(weights)
        for group in self.groups:
            if group.name in permutations:
                for place in group.places:
                    if place.tensor in result:
                        result[place.tensor] = place.permute(result[place.tensor], permutations[group.name])
        return result


def symmetry(model: nn.Module, example_inputs: Any) -> Symmetry:
    """Derive which units of a model can be permuted.

    The model is run on the example inputs and left as it was. An operation that is not understood fixes the order of
    everything that it touches.

    Args:
        model: any module that runs.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.

    Raises:
        OrderError: the model does not run on the inputs, or cannot be copied.
    """
    model, call = unwrap(model), Call.of(example_inputs)
    try:
        graph = record(model, call, training=False, gradients=False).graph
        trial = _randomised(model)
    except Exception as error:
        raise OrderError(
            f"{type(model).__name__}: no trace for its symmetries: {type(error).__name__}: {error}"
        ) from error
    groups = _Propagation(model).groups(graph)
    before = _outputs(trial, call)
    # Together first, which is one run; one by one only where that fails.
    good = groups if _holds(trial, call, before, groups) else [g for g in groups if _holds(trial, call, before, [g])]
    moved = {place.tensor for group in good for place in group.places if place.axis == 0}
    left = [name for name, p in model.named_parameters() if p.dim() >= 2 and name not in moved]
    return Symmetry(tuple(good), tuple(g.name for g in groups if g not in good), tuple(left))


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


def _randomised(model: nn.Module) -> nn.Module:
    """A copy in float64 and evaluation mode whose every parameter and statistic is different from all others."""
    trial = copy.deepcopy(model).double().eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*trial.parameters(), *trial.buffers()):
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=rng, dtype=torch.float64).to(tensor.device)
                tensor.copy_(tensor + 0.1 * (noise + 0.1))  # positive: variances stay so
    return trial


@torch.no_grad()
def _outputs(trial: nn.Module, call: Call) -> list[Tensor]:
    call = call.map(lambda t: t.double() if t.is_floating_point() else t)
    trial.train()
    trial.eval()  # what was cached from the weights is dropped
    return list(tensors_in(trial(*call.args, **call.kwargs)))


@torch.no_grad()
def _holds(trial: nn.Module, call: Call, before: Sequence[Tensor], groups: Sequence[Group]) -> bool:
    """Whether the copy computes the same as ``before`` when the units of some groups are shuffled."""
    stored = trial.state_dict(keep_vars=True)
    names = {id(p): name for name, p in trial.named_parameters()}
    tensors = {names.get(id(t), name): t for name, t in stored.items()}
    rng = torch.Generator().manual_seed(1)
    kept = {place.tensor: tensors[place.tensor].clone() for group in groups for place in group.places}
    for group in groups:
        order = torch.randperm(group.size, generator=rng)
        for place in group.places:
            tensors[place.tensor].copy_(place.permute(tensors[place.tensor], order))
    after = _outputs(trial, call)
    for name, tensor in kept.items():
        tensors[name].copy_(tensor)
    return all(_close(x, y) for x, y in zip(before, after, strict=True))


def _close(x: Tensor, y: Tensor) -> bool:
    if not x.is_floating_point():
        return bool(torch.equal(x, y))
    return bool((x - y).abs().max() <= EXACT * (1 + x.abs().max())) if x.numel() else True
