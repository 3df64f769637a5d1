"""Algorithms 1 and 2 of the paper (arXiv 2505.02604), literally: slow, one layer after the other, in its notation.

What a reader reads first, and what the tests step beside the fast code in `walk`. P is the point that walks, D the
destination, v the variance of P's layers at the start, L the layers (tensors by name); ``train`` is the settling.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

Point = dict[str, Tensor]


def Var(p: Tensor) -> Tensor:  # noqa: N802 - the paper's name
    """The variance about the tensor's own mean (equation 2)."""
    return ((p - p.mean()) ** 2).mean()


def VarianceCorrection(p: Tensor, v: Tensor) -> Tensor:  # noqa: N802
    """The point of the variance sphere S_v that is nearest to ``p``."""
    return p.mean() + torch.sqrt(v / Var(p)) * (p - p.mean())


def Move(p: Tensor, d: Tensor, gap_0: Tensor, step_c: float, step_a: float, step_f: float) -> Tensor:  # noqa: N802
    """A step towards ``d`` of length max(step_c + step_f·gap₀, step_a·gap), never past it (Algorithm 1, line 5)."""
    gap = torch.linalg.norm(d - p)
    length = torch.minimum(gap, torch.maximum(step_c + step_f * gap_0, step_a * gap))
    return p + length * (d - p) / gap if gap > 0 else p


def LLPF_M2M(  # noqa: N802
    P: Point, D: Point, phases: Sequence[tuple[set[str], int, Mapping[str, float]]],  # noqa: N803
    corrected: set[str], train: Callable[[Point], Point],
) -> Iterator[Point]:  # fmt: skip
    """Algorithm 1, from model to model: the points after every tick.

    Args:
        P: the start, model A.
        D: model B.
        phases: in order, each with its layers L, its number of ticks T, and its steps.
        corrected: the tensors that are held on their spheres.
        train: settles a point with all layers trainable.
    """
    v = {l: Var(P[l]) for l in corrected}  # noqa: E741
    D = {l: VarianceCorrection(d, v[l]) if l in v else d for l, d in D.items()}  # noqa: E741, N806
    for L, T, steps in phases:  # noqa: N806
        gap_0 = {l: torch.linalg.norm(D[l] - p) for l, p in P.items()}  # noqa: E741
        for _ in range(T):
            P = {l: Move(p, D[l], gap_0[l], **steps) if l in L else p for l, p in P.items()}  # noqa: E741, N806
            P = {l: VarianceCorrection(p, v[l]) if l in v else p for l, p in P.items()}  # noqa: E741, N806
            P = train(P)  # noqa: N806
            P = {l: VarianceCorrection(p, v[l]) if l in v else p for l, p in P.items()}  # noqa: E741, N806
            yield P


def LLPF_M2O(  # noqa: N802
    P: Point, L: set[str], T: int, steps: Mapping[str, float], eta: float,  # noqa: N803
    train: Callable[[Point, Mapping[str, Tensor]], Point],
) -> Iterator[Point]:  # fmt: skip
    """Algorithm 2, from model to origin: the points after every tick.

    Args:
        P: the start.
        L: the layers that move, without normalization layers.
        T: ticks.
        steps: as in `Move`.
        eta: the base learning rate.
        train: settles a point, each layer at its own learning rate.
    """
    v = {l: Var(P[l]) for l in L}  # noqa: E741
    gap_0 = {l: torch.linalg.norm(P[l]) for l in L}  # noqa: E741
    for _ in range(T):
        P = {l: Move(p, torch.zeros_like(p), gap_0[l], **steps) if l in L else p for l, p in P.items()}  # noqa: E741, N806
        rate = {l: eta * (Var(p) / v[l] if l in L else torch.ones(())) for l, p in P.items()}  # noqa: E741  AngleConformal
        P = train(P, rate)  # noqa: N806
        yield P
