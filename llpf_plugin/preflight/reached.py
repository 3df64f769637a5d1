"""Which parameters do a task's data reach? No loss says what those should be that they do not."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llpf_plugin.documents import listed
from llpf_plugin.errors import TaskError
from llpf_plugin.geometry.weights import Weights, assign, coordinates, layers_of, select, ties
from llpf_plugin.preflight.checks import Finding, finding
from llpf_plugin.preflight.probe import first_batch, probing, scored
from llpf_plugin.tasks.batches import Batch, batch_size
from llpf_plugin.workspace import Workspace

SAMPLE = 512
"""Examples of each split at most that a parameter must not reach."""


def unreached(workspace: Workspace, a: Weights, b: Weights, sample: int | None = None) -> list[str]:
    """The coordinates that differ in two models, and on which no loss depends: in the order of the model.

    A parameter with a gradient, on one batch in training mode, is reached. Those without may still be used: frozen in
    the forward pass, picked by a comparison, or by few examples. So they are exchanged for those of the other model: if
    loss and correct answers stay bit by bit the same, in both modes, on every batch of a sample of every split, nothing
    depends on them. Where the loss is not repeatable, nothing is said to be unreached.

    Args:
        workspace: whose model and data; left as it was.
        a: complete state dict.
        b: another one.
        sample: examples of each split at most, None for `SAMPLE`.
    """
    task, most = workspace.task, min(sample or SAMPLE, SAMPLE)
    with probing(workspace):
        own = list(coordinates(workspace.model))
        assign(workspace.model, a)
        without = _without_gradient(workspace)
        if new := [k for k in coordinates(workspace.model) if k not in a]:
            raise TaskError(f"the model had no {listed(new)} before it was called: make parameters in its constructor")
        left = [k for k in without if not torch.equal(a[k], b[k])]
        for data in (task.train, task.validation, task.test):
            if left and data is not None:
                drawn = workspace.examples(data, most)
                batches = [b for b in drawn.batches(workspace.batch_size) if batch_size(b) > 1 or len(drawn) == 1]
                for pair in ((a, b), (b, a)):
                    left = _Exchange(workspace, batches, *pair).unused(left)
    return [] if len(left) == len(own) else left


def _without_gradient(workspace: Workspace) -> list[str]:
    """Coordinates that get no gradient from the first batch in training mode; all of them if there is none."""
    model = workspace.model
    named = {k: p for k, p in model.named_parameters() if p.is_floating_point()}
    for p in named.values():
        p.requires_grad_(True)
    model.train()
    loss, _ = scored(workspace, first_batch(workspace))
    if loss.requires_grad:
        workspace.backward(loss)
    return [k for k, p in named.items() if p.grad is None]


class _Exchange:
    """Tensors of one model are exchanged for those of another, and its losses are looked at.

    Args:
        workspace: whose model.
        batches: that the losses are taken on.
        weights: the model, a complete state dict.
        other: where exchanged tensors come from.
    """

    def __init__(self, workspace: Workspace, batches: Sequence[Batch], weights: Weights, other: Weights) -> None:
        self.workspace, self.batches, self.weights, self.other = workspace, batches, weights, other

    def unused(self, names: Sequence[str]) -> list[str]:
        """The names on which no loss depends; none where the losses are not repeatable."""
        assign(self.workspace.model, self.weights)
        left = list(names)
        for training in (False, True):
            self.workspace.model.train(training)
            self.before = [self._score(batch) for batch in self.batches]
            if self._same():
                left = self._unused(left)
            elif not training:
                return []
        return left

    def _unused(self, names: list[str]) -> list[str]:
        """All of them at once, or the unused ones of each half."""
        if not names:
            return []
        self._put(self.other, names)
        same = self._same()
        self._put(self.weights, names)
        if same or len(names) == 1:
            return names if same else []
        middle = len(names) // 2
        return self._unused(names[:middle]) + self._unused(names[middle:])

    def _put(self, weights: Weights, names: Sequence[str]) -> None:
        assign(self.workspace.model, select(weights, names))

    def _same(self) -> bool:
        return all(_equal(self._score(batch), before) for batch, before in zip(self.batches, self.before, strict=True))

    @torch.no_grad()
    def _score(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        return scored(self.workspace, batch)


def _equal(one: tuple[Tensor, Tensor | None], other: tuple[Tensor, Tensor | None]) -> bool:
    return all(
        torch.equal(torch.as_tensor(x), torch.as_tensor(y))
        for x, y in zip(one, other, strict=True)
        if x is not None and y is not None
    )


def with_what_belongs(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """The names, their further names where they are tied, and the buffers of modules that have no other parameters."""
    named, found = set(names), set(names)
    found |= {name for name, own in ties(model).items() if own in named}
    for place, module in model.named_modules():
        prefix = f"{place}." if place else ""
        own = {prefix + k for k, _ in module.named_parameters(recurse=False)}
        if own and own <= found:
            found |= {prefix + k for k, _ in module.named_buffers(recurse=False)}
    return tuple(k for k in model.state_dict() if k in found)


def say_unreached(names: Sequence[str]) -> list[Finding]:
    """A warning that names the layers that the data never reach."""
    layers = list(layers_of(names))
    what = f"{len(layers)} layers that the task's data never reach stay those of A"
    return finding("warning", what, layers, "No loss depends on them, so that nothing says how to merge them.")
