"""The variance sphere of a layer tensor: all tensors with the same variance about their own mean.

Paper, section 2, equation 2: ``S_v = {P : Var(P) = v}``. Here ``Var`` is the variance about the tensor's own mean,
without Bessel's correction (only ratios enter the projection, so the choice changes no result).
A tensor of one element, or of variance 0, has no sphere and is left as it is.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from llpf_plugin.geometry.placement import begins, is_sharded, local, mean_of, totals

Correct = Literal["matrices", "all", "none"]
"""Which tensors are held on their spheres: those of ≥ 2 dimensions (default), all of them, or none."""

ON_SPHERE = 1 + 1e-4
"""Variance over that of the target sphere, up to which a layer has arrived there."""


def moments(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of ``tensor``, as 0-d tensors in at least float32, on its device.

    The deviation is taken from the first element before that of the mean, so that a constant tensor has exactly 0;
    on a CPU these passes take a tenth of the time of ``torch.var_mean``.
    """
    if is_sharded(tensor):
        return _of_shards([tensor])[0]
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    centred = wide - wide[(0,) * wide.dim()]
    std = centred.sub_(centred.mean()).square_().mean().sqrt()
    return wide.mean(), std


def _moments(tensors: Sequence[Tensor]) -> Iterable[tuple[Tensor, Tensor]]:
    """`moments` of each, where it is asked for; of sharded ones all at once."""
    return _of_shards(tensors) if any(map(is_sharded, tensors)) else map(moments, tensors)


def _of_shards(tensors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """`moments` of tensors of which every rank has a part: all of them by three sums over ranks, in float64."""
    parts = [local(t) for t in tensors]
    counts = parts[0].new_tensor([t.numel() for t in tensors], dtype=torch.float64)
    heads = [
        p.reshape(-1)[:1].double().sum() if begins(t) else counts.new_zeros(())
        for p, t in zip(parts, tensors, strict=True)
    ]
    first = totals(torch.stack(heads), tensors)
    shifts = [(p.double() - x).sum() for p, x in zip(parts, first, strict=True)]
    means = first + totals(torch.stack(shifts), tensors) / counts
    squares = [(p.double() - x).square_().sum() for p, x in zip(parts, means, strict=True)]
    stds = (totals(torch.stack(squares), tensors) / counts).sqrt()
    wide = [torch.promote_types(p.dtype, torch.float32) for p in parts]
    return [(mean.to(dtype), std.to(dtype)) for mean, std, dtype in zip(means, stds, wide, strict=True)]


def variance(tensor: Tensor) -> float:
    """The variance of ``tensor`` about its own mean: the squared radius of its sphere per element."""
    return float(moments(tensor)[1]) ** 2


def has_sphere(tensor: Tensor) -> bool:
    """Whether ``tensor`` is floating point with more than one element and a variance above 0."""
    return tensor.is_floating_point() and tensor.numel() > 1 and float(moments(tensor)[1]) > 0


def is_magnitude(name: str, names: Container[str]) -> bool:
    """Whether a tensor is the magnitude of `torch.nn.utils.weight_norm`, of either kind: a scale, not a matrix."""
    if name.endswith("weight_g"):
        return f"{name[:-1]}v" in names
    return name.endswith("weight.original0") and f"{name[:-1]}1" in names


def spheres(weights: Mapping[str, Tensor], correct: Correct = "matrices") -> dict[str, float]:
    """The variance of every tensor that is to be held on its sphere, by name.

    Args:
        weights: the reference weights, model A's in Algorithm 1.
        correct: ``matrices`` for tensors of ≥ 2 dimensions, ``all`` for every tensor, ``none`` for an empty result. The
            magnitudes of weight-normalised layers are scales, and have none.
    """
    if correct == "none":
        return {}
    least = 2 if correct == "matrices" else 0
    held = {k: t for k, t in weights.items() if t.dim() >= least and not is_magnitude(k, weights)}
    return {k: variance(t) for k, t in held.items() if has_sphere(t)}


def project(tensor: Tensor, target: float) -> Tensor:
    """``VarianceCorrection`` (paper, Algorithm 1) with its graph: the nearest point of the sphere, as a new tensor.

    ``mean(p) + sqrt(v / var(p)) · (p − mean(p))``, with no epsilon; a constant tensor comes back unchanged.

    Args:
        tensor: floating point, any shape.
        target: the variance ``v`` of the sphere.
    """
    centred = tensor - mean_of(tensor)
    variance = mean_of(centred.square())
    some = variance > 0
    # Both branches must be finite, or the gradient of the one that is not taken becomes NaN.
    scale = torch.where(some, target / torch.where(some, variance, 1.0), 1.0)
    return mean_of(tensor) + centred * scale.sqrt()


@torch.no_grad()
def mean_on_sphere(tensors: Sequence[Tensor], shares: Sequence[float], held: bool) -> Tensor:
    """The weighted mean of tensors, with the weighted mean of their variances.

    The mean of independent tensors has a smaller variance than they have. A tensor's mean with itself is that tensor.

    Args:
        tensors: floating point, of one shape and on one device.
        shares: what each counts, 1 in all.
        held: put the mean on the sphere of that variance; only where every tensor has a sphere.

    Returns:
        A new tensor in float64.
    """
    mean = torch.zeros_like(tensors[0], dtype=torch.float64)
    for tensor, share in zip(tensors, shares, strict=True):
        mean.add_(tensor.double(), alpha=share)
    if held and all(has_sphere(tensor) for tensor in tensors):
        return project(mean, sum(s * variance(t.double()) for t, s in zip(tensors, shares, strict=True)))
    return mean


@torch.no_grad()
def project_(tensors: Sequence[Tensor], targets: Iterable[float]) -> Sequence[Tensor]:
    """`project` in place and without a graph, over a list of tensors; nothing is read back from the device.

    On a CPU it is exact: a tensor that is on its sphere stays bit by bit where it is. Integer and one-element tensors
    are left alone.
    """
    held = [(t, v) for t, v in zip(tensors, targets, strict=True) if t.is_floating_point() and t.numel() > 1]
    if held and all(t.is_cuda and t.dtype == torch.float32 and not is_sharded(t) for t, _ in held):
        _project_grouped_([t for t, _ in held], [v for _, v in held])
        return tensors
    for (tensor, target), (mean, std) in zip(held, _moments([t for t, _ in held]), strict=True):
        scale = torch.where(std > 0, torch.full_like(std, target**0.5) / std, 1.0)
        # From the mean towards p, exact at both ends, so that nothing cancels on a far smaller sphere.
        part = local(tensor)
        wide = part.to(mean.dtype)
        torch.lerp(mean, wide, scale, out=wide)
        if wide is not part:
            part.copy_(wide)
    return tensors


def _project_grouped_(tensors: Sequence[Tensor], targets: Sequence[float]) -> None:
    """`project_` by two kernels a tensor and a few for all together: on a GPU it is their number that takes time."""
    variances, means = zip(*(torch.var_mean(t, correction=0) for t in tensors), strict=True)
    stds = torch.stack(variances).sqrt()
    scales = torch.where(stds > 0, stds.new_tensor(targets, dtype=torch.float64).sqrt().to(stds) / stds, 1.0)
    for tensor, mean, scale in zip(tensors, means, scales.unbind(), strict=True):
        torch.lerp(mean, tensor, scale, out=tensor)
