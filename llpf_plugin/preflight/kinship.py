"""How two networks are related, by their weights alone: the same, of one origin, alike in part, or trained apart.

The limits are those of docs/commands/check.md, from benchmarks/kinship.py.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from llpf_plugin.geometry.weights import PIECE
from llpf_plugin.preflight.independence import ALIKE, CHANCE, SHARED
from llpf_plugin.preflight.pair import NEARLY_SAME

Kinship = Literal["the same", "nearly the same", "of one origin", "alike in part", "trained apart"]

ONE_ORIGIN = 0.7
"""Likeness from which two networks come from one network or from one initialisation, and their average is as good."""

_RUNNING = ("running_mean", "running_var")


@dataclass(frozen=True)
class Compared:
    """One tensor of two networks, from sums in float64.

    Attributes:
        name: plain name.
        shape: of both.
        variance_a: about the mean.
        variance_b: likewise.
        cosine: of the angle between them, each about its own mean; 0 if one is constant.
        squared_distance: the square of the Euclidean distance.
        squared_norm: of B.
    """

    name: str
    shape: tuple[int, ...]
    variance_a: float
    variance_b: float
    cosine: float
    squared_distance: float
    squared_norm: float

    @property
    def ratio(self) -> float:
        """B's variance over A's; infinite if only A's is 0, and 1 if both are."""
        if self.variance_a:
            return self.variance_b / self.variance_a
        return math.inf if self.variance_b else 1.0

    @property
    def size(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)

    @property
    def alike(self) -> bool:
        """Whether the cosine lies far above chance."""
        return self.cosine > ALIKE + CHANCE / self.size**0.5


def compared(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: Iterable[str] | None = None) -> list[Compared]:
    """Every floating-point tensor that both have in one shape, but for running statistics.

    Args:
        a: weights by plain name.
        b: likewise.
        names: tensors to look at, None for all.
    """
    wanted = [k for k in (a if names is None else names) if k in a and k in b and not k.endswith(_RUNNING)]
    both = ((k, a[k], b[k]) for k in wanted if a[k].shape == b[k].shape and a[k].numel())
    return [_compared(k, x, y) for k, x, y in both if x.is_floating_point() and y.is_floating_point()]


def likeness(rows: Sequence[Compared]) -> float:
    """The mean cosine of tensors of two or more dimensions, weighted by their sizes; of all, if none has two."""
    counted = _matrices(rows) or rows
    return sum(row.cosine * row.size for row in counted) / max(1, sum(row.size for row in counted))


def kinship(rows: Sequence[Compared]) -> Kinship:
    """How two networks are related, by their tensors."""
    gap, scale = sum(r.squared_distance for r in rows) ** 0.5, sum(r.squared_norm for r in rows) ** 0.5
    if gap == 0:
        return "the same"
    if gap <= NEARLY_SAME * scale:
        return "nearly the same"
    if likeness(rows) >= ONE_ORIGIN:
        return "of one origin"
    counted = _matrices(rows)
    alike = [row for row in counted if row.alike]
    if 2 * len(alike) > len(counted) or any(row.cosine > SHARED for row in alike):
        return "alike in part"
    return "trained apart"


def _matrices(rows: Sequence[Compared]) -> list[Compared]:
    """Tensors of two or more dimensions that can point somewhere."""
    return [row for row in rows if len(row.shape) >= 2 and row.size > 1]


def _compared(name: str, x: Tensor, y: Tensor) -> Compared:
    """One row; large tensors are looked at in pieces, since float64 takes several times their memory."""
    n, sums = x.numel(), [0.0] * 6
    for one, other in zip(x.detach().flatten().split(PIECE), y.detach().flatten().split(PIECE), strict=True):
        one, other = one.double(), other.double()
        gap = one - other
        parts = (one.sum(), other.sum(), one @ one, other @ other, one @ other, gap @ gap)
        sums = [total + float(part) for total, part in zip(sums, parts, strict=True)]
    sum_a, sum_b, aa, bb, ab, gap2 = sums
    var_a, var_b = (_variance(square, total, n) for square, total in ((aa, sum_a), (bb, sum_b)))
    scale = n * (var_a * var_b) ** 0.5
    cosine = min(1.0, max(-1.0, (ab - sum_a * sum_b / n) / scale)) if scale > 0 else 0.0
    return Compared(name, tuple(x.shape), var_a, var_b, cosine, gap2, bb)


def _variance(square: float, total: float, n: int) -> float:
    """From sums; what is left of a constant tensor by rounding is none."""
    variance = square / n - (total / n) ** 2
    return variance if variance > 1e-12 * square / n else 0.0
