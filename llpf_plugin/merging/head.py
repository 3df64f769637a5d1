"""The head of a classifier, found by the order of its layers; heads of different classes in the form of one."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from llpf_plugin.errors import MismatchError, OrderError
from llpf_plugin.geometry.weights import Weights, coordinates
from llpf_plugin.order.derive import layer_order
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.order.trace.tensors import tensors_in

NUDGE, SAME = 1.0, 1e-4
"""What is added to a row of a head, and how much less another class's score may move for it."""


@dataclass(frozen=True)
class Head:
    """The linear layer that gives the scores of classes: one row of its weight, and of its bias, for each.

    Attributes:
        layer: its name in the module tree.
        parameters: names of weight ``[classes, features]`` and bias ``[classes]``, if there is one.
        classes: their number.
    """

    layer: str
    parameters: tuple[str, ...]
    classes: int

    def extended(self, weights: Mapping[str, Tensor], places: Sequence[int]) -> Weights:
        """Weights of a head with fewer classes in the form of this one; what it does not know has rows of zeros.

        Args:
            weights: a state dict whose head has one row for each of ``places``.
            places: the class of each row, as this head numbers them.
        """
        index, extended = torch.tensor(places), dict(weights)
        for name in self.parameters:
            rows = weights[name]
            extended[name] = rows.new_zeros(self.classes, *rows.shape[1:]).index_copy(0, index.to(rows.device), rows)
        return extended

    def filled(self, weights: Weights, other: Mapping[str, Tensor], places: Sequence[int]) -> Weights:
        """Weights whose rows of the classes not in ``places`` are those of the other model."""
        missing, filled = (~self.known(places)).nonzero().flatten(), dict(weights)
        for name in self.parameters:
            rows, index = weights[name], missing.to(weights[name].device)
            filled[name] = rows.index_copy(0, index, other[name].to(rows)[index])
        return filled

    def narrowed(self, model: nn.Module, classes: int) -> nn.Module:
        """A copy of a model whose head has fewer classes; only what its tensors are called and shaped like counts."""
        narrow = copy.deepcopy(model)
        layer = narrow.get_submodule(self.layer)
        for name in self.parameters:
            own = name.rpartition(".")[2]
            setattr(layer, own, nn.Parameter(getattr(layer, own).detach()[:classes].clone()))
        if (config := getattr(narrow, "config", None)) is not None:  # transformers builds networks from it
            config.num_labels = classes
        return narrow

    def known(self, places: Sequence[int]) -> Tensor:
        """Which classes are in ``places``, ``bool [classes]``."""
        return torch.zeros(self.classes, dtype=torch.bool).index_fill(0, torch.tensor(places, dtype=torch.long), True)

    @contextmanager
    def masked(self, model: nn.Module, allowed: Tensor) -> Iterator[None]:
        """Inside, the scores of classes that are not allowed are minus infinity, in losses as in answers.

        Args:
            model: whose head it is.
            allowed: ``bool [classes]``, or ``[n, classes]`` for a batch of n examples.
        """

        def mask(module: nn.Module, inputs: Any, scores: Tensor) -> Tensor:
            between = [1] * (scores.dim() - 2)  # where a model has scores of every token, before it takes one
            own = allowed if allowed.dim() == 1 else allowed.view(len(allowed), *between, self.classes)
            return scores.masked_fill(~own.to(scores.device), -torch.inf)

        handle = model.get_submodule(self.layer).register_forward_hook(mask)
        try:
            yield
        finally:
            handle.remove()


def find_head(model: nn.Module, example_inputs: Any, classes: int) -> Head:
    """The last linear layer, in the order of the data, with one row for each class, each of which moves one score.

    Args:
        model: a classifier; left as it was.
        example_inputs: as of `layer_order`.
        classes: their number.

    Raises:
        OrderError: there is none, or the model cannot be traced.
    """
    inputs, own = Inputs.of(example_inputs), coordinates(model)
    used = [layer for layer in layer_order(model, inputs).layers if layer.calls]
    for layer in reversed(used):
        named = [name for name in layer.parameters if name.rpartition(".")[0] == layer.name]  # without a norm's
        rows = {name: own[name] for name in named if name in own}
        if _is_linear(rows, classes) and _moves_one_score(model, inputs, rows, classes):
            return Head(layer.name, tuple(rows), classes)
    last = f"; the last layer is {used[-1].name}, a {used[-1].type}" if used else ""
    raise OrderError(
        f"the head of {type(model).__name__} was not found: no linear layer gives the scores of {classes} classes{last}"
    )


def rows_of(head: Head, weights: Mapping[str, Tensor], name: str) -> int:
    """For how many classes a checkpoint's head has rows.

    Raises:
        MismatchError: it has no such head.
    """
    missing = [one for one in head.parameters if one not in weights or not weights[one].dim()]
    if missing:
        raise MismatchError(f"{name} has no {missing[0]}, which the head of the task's network is")
    return len(weights[head.parameters[0]])


def _is_linear(rows: Mapping[str, Tensor], classes: int) -> bool:
    """Whether these are a weight and a bias, or a weight alone, with one row for each class."""
    dimensions = sorted(tensor.dim() for tensor in rows.values())
    return dimensions in ([1, 2], [2]) and all(len(tensor) == classes for tensor in rows.values())


@torch.no_grad()
def _moves_one_score(model: nn.Module, inputs: Inputs, own: Weights, classes: int) -> bool:
    """Whether the first row of a layer moves the first of the scores, and all others, if at all, by the same."""
    flags = [(module, module.training) for module in model.modules()]
    nudged = {name: torch.cat([rows[:1] + NUDGE, rows[1:]]) for name, rows in own.items()}
    model.eval()
    try:
        before, after = (_scores(model, weights, inputs, classes) for weights in (own, nudged))
    finally:
        for module, training in flags:
            module.training = training
    return bool(before) and all(_first_alone(y - x) for x, y in zip(before, after, strict=True))


def _scores(model: nn.Module, weights: Weights, inputs: Inputs, classes: int) -> list[Tensor]:
    """What a model answers, as far as it may be scores, ``[n, classes]``."""
    own = inputs.map(torch.clone)  # a model may write into what it is given
    found = tensors_in(functional_call(model, weights, own.args, dict(own.kwargs)))
    return [t.double().flatten(0, -2) for t in found if t.is_floating_point() and t.shape[-1:] == (classes,)]


def _first_alone(moved: Tensor) -> bool:
    first, others = moved[:, 0], moved[:, 1:]
    apart = (first.unsqueeze(1) - others).abs().amin(1)
    return bool(((others.amax(1) - others.amin(1)) <= SAME * apart).all() and (apart > 0).any())
