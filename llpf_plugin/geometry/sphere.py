"""The variance sphere of a layer tensor: all tensors with the same variance about their own mean.

Paper, section 2, equation 2: ``S_v = {P : Var(P) = v}``. Here ``Var`` is the variance about the tensor's own mean,
without Bessel's correction (only ratios enter the projection, so the choice changes no result).
A tensor of one element, or of variance 0, has no sphere and is left as it is.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

Correct = Literal["matrices", "all", "none"]
"""Which tensors are held on their spheres: those of ≥ 2 dimensions (default), all of them, or none."""

_TINY = torch.finfo(torch.float32).tiny


def moments(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of ``tensor``, as 0-d tensors in at least float32, on its device.

    The deviation is taken from the first element before that of the mean, so that a constant tensor has exactly 0;
    on a CPU these passes take a tenth of the time of ``torch.var_mean``.
    """
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    centred = wide - wide[(0,) * wide.dim()]
    std = centred.sub_(centred.mean()).square_().mean().sqrt()
    return wide.mean(), std


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
    """``VarianceCorrection`` (paper, Algorithm 1): the point of the sphere that is nearest to ``tensor``.

    ``mean(p) + sqrt(v / var(p)) · (p − mean(p))``, exact, with no epsilon.

    Args:
        tensor: any shape; integer, one-element and constant tensors come back unchanged.
        target: the variance ``v`` of the sphere.

    Returns:
        A new tensor of the same shape and dtype with the same mean and variance ``target``.
    """
    return project_([tensor.clone()], [target])[0]


@torch.no_grad()
def project_(tensors: Sequence[Tensor], targets: Iterable[float]) -> Sequence[Tensor]:
    """`project` in place over a list of tensors; nothing is read back from the device."""
    for tensor, target in zip(tensors, targets, strict=True):
        if not tensor.is_floating_point() or tensor.numel() < 2:
            continue
        mean, std = moments(tensor)
        scale = torch.where(std > 0, torch.full_like(std, target**0.5) / std, 1.0)
        # From the mean towards p, exact at both ends: nothing cancels on a far smaller sphere, and a tensor that is on
        # its sphere stays bit by bit where it is.
        wide = tensor.to(mean.dtype)
        torch.lerp(torch.empty_like(wide).fill_(mean), wide, scale, out=wide)
        if wide is not tensor:
            tensor.copy_(wide)
    return tensors


def tolerance(tensor: Tensor) -> float:
    """The relative error of the variance that the dtype allows: about ``eps · (1 + |mean| / std)``, with a margin."""
    mean, std = moments(tensor)
    return 8 * torch.finfo(tensor.dtype).eps * (1 + float(mean.abs() / std.clamp_min(_TINY)))


def check(tensor: Tensor, target: float, explain: bool = False) -> bool | tuple[bool, str | None]:
    """Whether ``tensor`` lies on the sphere of variance ``target``, to the accuracy of its dtype.

    Args:
        tensor: any shape.
        target: the variance of the sphere.
        explain: also return the reason if it does not.
    """
    if not has_sphere(tensor):
        ok, reason = True, None
    else:
        got = variance(tensor)
        ok = abs(got / target - 1) <= tolerance(tensor) if target > 0 else got == 0
        reason = None if ok else f"its variance is {got:.6g}, the sphere's is {target:.6g}"
    return (ok, reason) if explain else ok
