"""The change of some units that brings them nearest to others, for each kind of group.

Everything is found from products of rows: ``p`` are the units' own rows, which a change M multiplies, and ``n`` those
of their duals, which its inverse transpose multiplies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

FACTORS, ZOOMS = 65, 8
"""Factors that are tried at once, first in [1/8, 8], and how often."""


@dataclass(frozen=True)
class Products:
    """Products of rows of A with B, and of B with itself; of units (``p``) and of duals (``n``).

    ``[blocks, units, units]`` for what mixes units, and ``[blocks, units]``, of every row with its own partner, for
    factors; complex ``[blocks, units / 2]`` for complex ones.

    Attributes:
        p: ``Σ A Bᵀ`` over all places that are no duals.
        n: the same over duals.
        pp: ``Σ B Bᵀ`` over places that are no duals.
        nn: the same over duals.
    """

    p: Tensor
    n: Tensor
    pp: Tensor
    nn: Tensor


def outer(a: Tensor, b: Tensor) -> Tensor:
    """``A Bᵀ`` of rows, ``[blocks, units, units]``."""
    return (a @ b.mT).double()


def inner(a: Tensor, b: Tensor) -> Tensor:
    """``⟨a, b⟩`` of every row with its own partner, ``[blocks, units]``."""
    return (a * b).sum(-1, dtype=torch.float64)


def complex_inner(a: Tensor, b: Tensor) -> Tensor:
    """``Σ a b̄`` of complex rows whose real parts are the first half of the units, ``[blocks, units / 2]``."""
    (x, y), (u, v) = a.chunk(2, 1), b.chunk(2, 1)
    return torch.complex(inner(x, u) + inner(y, v), inner(y, u) - inner(x, v))


def permutation(similar: Tensor) -> Tensor:
    """Permutations that maximise ``Σ similar[i, π(i)]``, ``[blocks, units]``."""
    found = [linear_sum_assignment(block.cpu().numpy(), maximize=True)[1] for block in similar]
    return torch.stack([torch.as_tensor(one) for one in found])


def scale(products: Products) -> Tensor:
    """Positive factors s that minimise ``‖a − s b‖² + ‖a' − b'/s‖²`` for every unit, ``[blocks, units]``."""
    p, n, pp, nn = products.p, products.n, products.pp, products.nn
    return _factor(lambda s: s**2 * pp + nn / s**2 - 2 * (s * p + n / s), p)


def factor(products: Products) -> Tensor:
    """Numbers s of either sign that minimise ``‖a − s b‖² + ‖a' − b'/s‖²`` for every unit, ``[blocks, units]``."""
    p, n, pp, nn = products.p, products.n, products.pp, products.nn
    s = _factor(lambda s: s**2 * pp + nn / s**2 - 2 * (s * p + n / s).abs(), p)
    return torch.where(s * p + n / s < 0, -s, s)


def complex_factor(products: Products) -> Tensor:
    """Complex numbers z that minimise ``‖a − z b‖² + ‖a' − b'/z̄‖²`` for pairs of units, ``[blocks, units / 2]``."""
    p, n, pp, nn = products.p, products.n, products.pp.real, products.nn.real
    s = _factor(lambda s: s**2 * pp + nn / s**2 - 2 * (s * p + n / s).abs(), pp)
    turn = s * p + n / s
    return s * torch.where(turn == 0, torch.ones_like(turn), turn / turn.abs().clamp_min(1e-300))


def _factor(loss: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """The factor of the least loss, for every element: the best of a grid, then of finer grids around it.

    Args:
        loss: of factors ``[FACTORS, *like.shape]``, the same shape.
        like: an element for each factor that is looked for.
    """
    steps = torch.linspace(-1, 1, FACTORS, dtype=torch.float64, device=like.device)
    steps = steps.reshape(-1, *(1 for _ in like.shape))
    middle, width = torch.zeros(like.shape, dtype=torch.float64, device=like.device), math.log(8)
    for _ in range(ZOOMS):
        tried = middle + width * steps
        best = loss(torch.exp(tried)).argmin(0, keepdim=True)
        middle, width = tried.gather(0, best)[0], width * 2 / (FACTORS - 1)
    return torch.exp(middle)


def rotation(similar: Tensor, ones: bool = True) -> Tensor:
    """The orthogonal matrices Q that maximise ``⟨Q, similar⟩``: orthogonal Procrustes (Schönemann, 1966).

    Args:
        similar: ``[…, n, n]``.
        ones: False to leave the vector of ones where it is.
    """
    u, _, v = torch.linalg.svd(similar if ones else fixing_ones(similar))
    return u @ v


def fixing_ones(similar: Tensor) -> Tensor:
    """Similarities whose nearest orthogonal matrix leaves the vector of ones where it is."""
    size = similar.shape[-1]
    mean = torch.full((size, size), 1 / size, dtype=similar.dtype, device=similar.device)
    centred = similar - mean @ similar - similar @ mean + mean @ similar @ mean
    return centred + mean * centred.abs().max().clamp_min(1e-12) * size


def invertible(products: Products) -> Tensor:
    """Matrices M that make ``‖A − M B‖² + ‖A' − M⁻ᵀ B'‖²`` small, ``[blocks, units, units]``.

    The best of four for every block: the identity, the nearest rotation times a number, and what brings the one or the
    other side nearest by itself, which is exact for a copy. Descending further from there (L-BFGS) came no nearer to A
    in the end, since other groups follow, and took several times as long.
    """
    starts = torch.stack(_starts(products))
    losses = torch.stack([_mixing_loss(m, products) for m in starts])
    best = torch.where(losses.isfinite(), losses, torch.inf).argmin(0)
    return starts[best, torch.arange(starts.shape[1])]


def _starts(products: Products) -> list[Tensor]:
    unit = torch.eye(products.p.shape[-1], dtype=products.p.dtype, device=products.p.device).expand_as(products.p)
    own = products.p @ _inverse(products.pp)
    of_dual = products.n @ _inverse(products.nn)
    return [unit, _similarity_map(products), _regular(own), _inverse(_regular(of_dual)).mT]


def _similarity_map(products: Products) -> Tensor:
    """The nearest rotation, times the number that is best with it."""
    turn = rotation(products.p + products.n)
    p, n = ((turn * one).sum((-2, -1)) for one in (products.p, products.n))
    pp, nn = (one.diagonal(dim1=-2, dim2=-1).sum(-1) for one in (products.pp, products.nn))
    return turn * _factor(lambda s: s**2 * pp + nn / s**2 - 2 * (s * p + n / s), p)[:, None, None]


def _inverse(matrix: Tensor) -> Tensor:
    return torch.linalg.pinv(matrix, rtol=1e-12)


def _regular(matrix: Tensor) -> Tensor:
    """The matrix with no singular value below a millionth of the largest one."""
    u, s, v = torch.linalg.svd(matrix)
    return u @ torch.diag_embed(s.clamp_min(1e-6 * s.amax(-1, keepdim=True)).clamp_min(1e-12)) @ v


def _mixing_loss(m: Tensor, products: Products) -> Tensor:
    """What `invertible` minimises, less what does not depend on M, for every block."""
    inverse = torch.linalg.inv_ex(m)[0].mT
    own = (m * (m @ products.pp - 2 * products.p)).sum((-2, -1))
    return own + (inverse * (inverse @ products.nn - 2 * products.n)).sum((-2, -1))
