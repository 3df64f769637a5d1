"""Weights: a network's parameters as a flat mapping from name to tensor, and pure operations on it.

A *coordinate* is a floating-point parameter: what a path moves. Buffers (running statistics, integer counters)
are never coordinates. Distances are Euclidean, accumulated in float64 on the tensors' own device.
"""

from collections.abc import Container, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from llpf_plugin.geometry.placement import copy_, is_sharded, local, total, whole

Weights = dict[str, Tensor]

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)

PIECE = 1 << 24
"""Elements of a tensor that are looked at in float64 at once."""

NEAR = 0.01
"""Arrival: every layer within this relative distance of its destination."""


def coordinates(model: nn.Module, of: Container[str] | None = None) -> Weights:
    """The model's own floating-point parameters by name, tied ones once, or those ``of`` some names: not copies."""
    own = ((name, p) for name, p in model.named_parameters() if of is None or name in of)
    return {name: p.detach() for name, p in own if p.is_floating_point()}


def buffers(model: nn.Module) -> Weights:
    """The model's persistent buffers by name (running statistics, counters): not copies."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return {name: t for name, t in state(model).items() if name not in parameters}


def state(model: nn.Module) -> Weights:
    """The model's state dict as far as it holds tensors: extra state of other kinds is no weight. Not copies."""
    return {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}


def ties(model: nn.Module) -> dict[str, str]:
    """The further names of tied parameters, each with the name under which `coordinates` has it."""
    own = {id(p): name for name, p in model.named_parameters()}
    every = model.named_parameters(remove_duplicate=False)
    return {name: own[id(p)] for name, p in every if own[id(p)] != name}


def tied(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> Weights:
    """Weights with tied parameters the same under all of their names; ``names`` are those of `ties`."""
    return {**weights, **{name: weights[first] for name, first in names.items() if name in weights}}


def clone(weights: Mapping[str, Tensor], device: torch.device | str | None = None) -> Weights:
    """A detached copy of every tensor, whole on ``device``, or where and as it is."""
    if device is None:
        return {k: t.detach().clone() for k, t in weights.items()}
    return {k: whole(t.detach()).to(device, copy=not is_sharded(t)) for k, t in weights.items()}


def on_cpu(weights: Mapping[str, Tensor]) -> Weights:
    """Every tensor detached, whole and on the CPU; those that are so already are not copied."""
    return {k: whole(t.detach()).cpu() for k, t in weights.items()}


def select(weights: Mapping[str, Tensor], names: Iterable[str]) -> Weights:
    """The named tensors, in the order of ``names``."""
    return {name: weights[name] for name in names}


def norm(weights: Mapping[str, Tensor]) -> float:
    """The Euclidean norm over all tensors."""
    squares = sum(float(local(t).double().square().sum()) for t in weights.values())
    return total(squares, list(weights.values())) ** 0.5


def distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The Euclidean distance between ``a`` and ``b`` over the names of ``a``."""
    squares = sum(_squared(x, y) for k, t in a.items() for x, y in _pieces(local(t), local(b[k])))
    return total(squares, list(a.values())) ** 0.5


def _squared(x: Tensor, y: Tensor) -> float:
    return float((x.double() - y.double()).square().sum())


def _pieces(x: Tensor, y: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """Two tensors of one shape; large ones in pieces, since float64 takes several times their memory."""
    if x.numel() <= PIECE:
        return [(x, y)]
    return zip(x.flatten().split(PIECE), y.flatten().split(PIECE), strict=True)


def relative_distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """``distance(a, b)`` over the norm of ``b``; the paper's layer-wise distance, made scale-free."""
    scale = norm({k: b[k] for k in a})
    gap = distance(a, b)
    return gap / scale if scale > 0 else gap


def cosine(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The cosine of the angle between ``a`` and ``b``, seen from the origin; 0 if either vanishes."""
    parts = sum(float((local(t).double() * local(b[k]).double()).sum()) for k, t in a.items())
    dot = total(parts, list(a.values()))
    scale = norm(a) * norm({k: b[k] for k in a})
    return dot / scale if scale > 0 else 0.0


def layers_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Coordinates by their owner module: a layer's weight and bias, a norm's affine pair."""
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return layers


def lerp(a: Mapping[str, Tensor], b: Mapping[str, Tensor], t: float) -> Weights:
    """The point ``(1-t)·a + t·b`` of the straight segment; exact at both ends.

    Tensors that are not floating point are taken from the nearer end; of two dtypes the finer one is kept, and
    elements that are equal in both, such as the infinities of a mask, stay.
    """
    return {k: _lerp(x, b[k], t) for k, x in a.items()}


def _lerp(x: Tensor, y: Tensor, t: float) -> Tensor:
    if not x.is_floating_point():
        return x if t < 0.5 else y
    dtype = torch.promote_types(x.dtype, y.dtype)
    x, y = x.to(dtype), y.to(dtype)
    if t in (0, 1):  # whatever the other end holds
        return (y if t else x).clone()
    return torch.where(x == y, x, torch.lerp(x, y, t))


@torch.no_grad()
def assign(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Write ``weights`` into the model's parameters and buffers of the same names, in place.

    The model is toggled through train and eval mode, since some modules cache tensors derived from
    parameters in eval mode; the training flags end as they were.
    """
    own = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}
    for name, tensor in weights.items():
        copy_(own[name], tensor)
    refresh(model)


@torch.no_grad()
def lend(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """`assign` without copies: tensors of a parameter's dtype and device become its memory, buffers are copied.

    Embeddings with a ``max_norm``, which write into their parameter while they run, get copies too.
    """
    writing = {id(m.weight) for m in model.modules() if isinstance(m, _EMBEDDINGS) and m.max_norm is not None}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, p in parameters.items():
        if name in weights:
            p.data = weights[name].detach().to(p.device, p.dtype, copy=id(p) in writing)
    assign(model, {name: tensor for name, tensor in weights.items() if name not in parameters})


def refresh(model: nn.Module) -> None:
    """Drop what modules cached from their parameters in eval mode; training flags end as they were."""
    flags = [(module, module.training) for module in model.modules()]
    model.train()
    model.eval()
    for module, training in flags:
        module.training = training
