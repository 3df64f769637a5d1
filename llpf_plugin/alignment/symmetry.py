"""Permutation symmetries of a network, from its trace: which units may change places while it computes the same.

Git Re-Basin (Ainsworth et al., 2023) writes these down by hand for each architecture. Here labels of axes are passed
through every recorded operation, and residual streams, BatchNorm statistics, attention heads and tied weights fall into
place. Each group is then tried: its units are shuffled in a copy of the network with random weights, in float64. A
group that changes the output is left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.alignment.groups import Group, Symmetry
from llpf_plugin.alignment.propagate import propagate
from llpf_plugin.errors import OrderError
from llpf_plugin.order.derive import unwrap
from llpf_plugin.order.trace.forward import record
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.order.trace.tensors import tensors_in

EXACT = 1e-9
"""Relative change of the output, in float64, that rounding in another order may make."""


def symmetry(model: nn.Module, example_inputs: Any) -> Symmetry:
    """Which units of a model can be permuted without changing what it computes.

    The model is run on the example inputs and left as it was. An operation that is not understood fixes the order of
    everything that it touches.

    Args:
        model: any module that runs.
        example_inputs: as of `layer_order`: a tensor, a tuple of positional arguments, a dict of keyword arguments, or
            `Inputs`.

    Raises:
        OrderError: the model does not run on the inputs, or cannot be copied.
    """
    model, inputs = unwrap(model), Inputs.of(example_inputs)
    try:
        graph = record(model, inputs, training=False, gradients=False).graph
        trial = _randomised(model)
    except Exception as error:
        raise OrderError(
            f"{type(model).__name__}: no trace for its symmetries: {type(error).__name__}: {error}"
        ) from error
    groups = propagate(model, graph)
    before = _outputs(trial, inputs)
    # Together first, which is one run; one by one only where that fails.
    good = (
        groups if _holds(trial, inputs, before, groups) else [g for g in groups if _holds(trial, inputs, before, [g])]
    )
    moved = {place.tensor for group in good for place in group.places if place.axis == 0}
    left = [name for name, p in model.named_parameters() if p.dim() >= 2 and name not in moved]
    return Symmetry(tuple(good), tuple(group.name for group in groups if group not in good), tuple(left))


def _randomised(model: nn.Module) -> nn.Module:
    """A copy in float64 and evaluation mode in which every parameter and every statistic has a value of its own."""
    trial = copy.deepcopy(model).double().eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*trial.parameters(), *trial.buffers()):
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=rng, dtype=torch.float64).to(tensor.device)
                tensor.copy_(tensor + 0.1 * (noise + 0.1))  # positive: variances stay so
    return trial


@torch.no_grad()
def _outputs(trial: nn.Module, inputs: Inputs) -> list[Tensor]:
    own = inputs.map(lambda t: t.to(torch.float64, copy=True) if t.is_floating_point() else t.clone())
    trial.train()
    trial.eval()  # what was cached from the weights is dropped
    return list(tensors_in(trial(*own.args, **own.kwargs)))


@torch.no_grad()
def _holds(trial: nn.Module, inputs: Inputs, before: Sequence[Tensor], groups: Sequence[Group]) -> bool:
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
    after = _outputs(trial, inputs)
    for name, tensor in kept.items():
        tensors[name].copy_(tensor)
    return bool(before) and all(_close(x, y) for x, y in zip(before, after, strict=True))


def _close(x: Tensor, y: Tensor) -> bool:
    if not x.is_floating_point():
        return bool(torch.equal(x, y))
    return bool((x - y).abs().max() <= EXACT * (1 + x.abs().max())) if x.numel() else True
