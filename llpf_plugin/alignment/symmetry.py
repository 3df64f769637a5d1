"""Symmetries of a network, from its trace: what may be done to its units while it computes the same.

Git Re-Basin (Ainsworth et al., 2023) writes permutations down by hand for each architecture, Generalized LMC (Theus et
al., 2025, arXiv 2506.22712) the rotations of a transformer's residual stream and the circuits of its heads. Here labels
of axes are passed through every recorded operation, and all of these fall into place. Each group is then tried: a
random change is made to its units in a copy of the network with random weights. A group that changes the output is
tried as a smaller one, and left alone in the end.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from llpf_plugin.alignment.axes import Axes, Labels
from llpf_plugin.alignment.candidates import Candidates, weaker
from llpf_plugin.alignment.groups import Change, Group, Symmetry, apply
from llpf_plugin.alignment.nearest import rotation
from llpf_plugin.alignment.propagate import propagate, stored_tensors
from llpf_plugin.errors import OrderError
from llpf_plugin.geometry.weights import refresh
from llpf_plugin.order.derive import unwrap
from llpf_plugin.order.trace.forward import record
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.order.trace.tensors import flat, tensors_in

LARGE = 1 << 26
"""Elements of a model that is tried in its own precision, so that the trial takes no more memory than the model."""


def symmetry(model: nn.Module, example_inputs: Any) -> Symmetry:
    """What may be done to the units of a model without changing what it computes.

    The model is run on the example inputs and left as it was. An operation that is not understood fixes the order of
    everything that it touches.

    Args:
        model: any module that runs.
        example_inputs: as of `layer_order`: a tensor, a tuple of positional arguments, a dict of keyword arguments, or
            `Inputs`.

    Raises:
        OrderError: the model does not run on the inputs, cannot be copied, or does what cannot be followed.
    """
    model, inputs = unwrap(model), Inputs.of(example_inputs)
    try:
        graph = record(model, inputs, training=False, gradients=False).graph
        trial = _Trial(model, inputs)
        labels, own = propagate(model, graph)
        good, rejected = _verified(Candidates(labels, own).groups(), trial)
    except Exception as error:
        raise OrderError(
            f"{type(model).__name__}: no trace for its symmetries: {type(error).__name__}: {error}"
        ) from error
    moved = {place.tensor for group in good for place in group.places if place.axis == 0}
    tried = {place.tensor for group in rejected for place in group.places}
    left = {
        name: "a change of its units changed the output" if name in tried else _reason(labels, own.get(name))
        for name, p in model.named_parameters()
        if p.dim() >= 2 and name not in moved
    }
    return Symmetry(tuple(good), tuple(group.name for group in rejected), left)


def _reason(labels: Labels, axes: Axes | None) -> str:
    """Why nothing may be done to the outputs of a tensor, its first axis."""
    return "nothing reads it" if axes is None else labels.reason(axes[0]) or "its order is fixed by what it meets"


def _verified(candidates: Sequence[Group], trial: _Trial) -> tuple[list[Group], list[Group]]:
    """Groups that hold, and those of which nothing does. Together first, which is one run; then half by half."""
    if not candidates or trial.holds(candidates):
        return list(candidates), []
    if len(candidates) == 1:
        good = next((one for one in weaker(candidates[0]) if trial.holds([one])), None)
        return ([], list(candidates)) if good is None else ([good], [])
    half = len(candidates) // 2
    first, second = _verified(candidates[:half], trial), _verified(candidates[half:], trial)
    return [*first[0], *second[0]], [*first[1], *second[1]]


class _Trial:
    """A copy of a model with random weights, on which changes are tried.

    In float64 where the model runs so and is not large, else in its own type. What counts as the same output is half of
    the digits of the least precise type that the model computes in.
    """

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        self.origin = stored_tensors(model)
        large = sum(tensor.numel() for tensor in self.origin.values()) > LARGE
        try:
            self._prepare(copy.deepcopy(model) if large else copy.deepcopy(model).double(), inputs, not large)
        except RuntimeError:  # it says itself in what it computes
            self._prepare(copy.deepcopy(model), inputs, False)

    def _prepare(self, model: nn.Module, inputs: Inputs, double: bool) -> None:
        self.model = model.eval()
        self.inputs = inputs.map(
            lambda t: t.double() if double and t.is_floating_point() else t.clone()  # a model may write into them
        )
        self.tensors = _InPlace(stored_tensors(self.model))
        self._randomise(self.tensors)
        with _Precision() as precision:
            self.before = self._outputs()
        self.tolerance = precision.least**0.5

    @torch.no_grad()
    def _randomise(self, names: Iterable[str]) -> None:
        """Give tensors their random values, the same ones every time."""
        numbers = {name: i for i, name in enumerate(self.origin)}
        for name in names:
            rng, like = torch.Generator().manual_seed(numbers[name]), self.origin[name]
            noise = torch.rand(like.shape, generator=rng, dtype=torch.float64).to(like.device)
            self.tensors.held[name].copy_(like + 0.1 * (noise + 0.1))  # positive: variances stay so

    @torch.no_grad()
    def _outputs(self) -> list[Tensor]:
        own = self.inputs.map(torch.clone)
        refresh(self.model)
        return list(tensors_in(self.model(*own.args, **own.kwargs)))

    @torch.no_grad()
    def holds(self, groups: Sequence[Group]) -> bool:
        """Whether the copy computes the same when random changes are made to the units of some groups."""
        rng = torch.Generator().manual_seed(1)
        tried = Symmetry(tuple(groups))
        like = {
            k: 1.5 * t + 0.1 * torch.rand(t.shape, generator=rng, dtype=torch.float64).to(t)
            for k, t in self._gammas(tried)
        }
        self.tensors.written.clear()
        try:
            tried.absorb(self.tensors)
            for group in groups:
                for change in random_changes(group, rng):
                    apply(self.tensors, group, change)
            tried.restore(self.tensors, like)
            after = self._outputs()
        finally:
            self._randomise(self.tensors.written)
        return bool(self.before) and all(self._close(x, y) for x, y in zip(self.before, after, strict=True))

    def _gammas(self, tried: Symmetry) -> list[tuple[str, Tensor]]:
        names = [absorption.gamma for group in tried.groups for absorption in group.absorptions]
        return [(name, self.tensors[name]) for name in names]

    def _close(self, x: Tensor, y: Tensor) -> bool:
        if not x.is_floating_point():
            return bool(torch.equal(x, y))
        return bool((x - y).abs().max() <= self.tolerance * (1 + x.abs().max())) if x.numel() else True


class _InPlace(MutableMapping[str, Tensor]):
    """A model's own tensors: what is assigned is written into them. ``written`` are the names that were."""

    def __init__(self, held: Mapping[str, Tensor]) -> None:
        self.held, self.written = held, set[str]()

    def __getitem__(self, name: str) -> Tensor:
        return self.held[name]

    def __setitem__(self, name: str, value: Tensor) -> None:
        self.held[name].copy_(value)
        self.written.add(name)

    def __delitem__(self, name: str) -> None:
        raise TypeError("a model keeps its tensors")

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


class _Precision(TorchDispatchMode):
    """Notes the least precise floating-point type that anything is computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.least = torch.finfo(torch.float64).eps

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in flat(result):
            if tensor.is_floating_point():
                self.least = max(self.least, torch.finfo(tensor.dtype).eps)
        return result


def random_changes(group: Group, rng: torch.Generator) -> list[Change]:
    """Changes of the kind that a group allows, one after another."""
    blocks, size = group.blocks, group.size
    if group.kind == "rotary":
        return [
            torch.polar(_factors(blocks, size // 2, rng), 6 * torch.rand(blocks, size // 2, generator=rng).double())
        ]
    if group.kind == "factors":
        return [_factors(blocks, size, rng) * (torch.randint(2, (blocks, size), generator=rng) * 2 - 1)]
    if group.kind in ("orthogonal", "invertible"):
        turn = rotation(torch.randn(blocks, size, size, generator=rng, dtype=torch.float64), group.ones)
        return [turn * _factors(blocks, size, rng).unsqueeze(1) if group.kind == "invertible" else turn]
    orders = torch.stack([torch.randperm(size, generator=rng) for _ in range(blocks)])
    return [orders] if group.kind == "permutation" else [orders, _factors(blocks, size, rng)]


def _factors(blocks: int, size: int, rng: torch.Generator) -> Tensor:
    return torch.rand(blocks, size, generator=rng, dtype=torch.float64) + 0.5
