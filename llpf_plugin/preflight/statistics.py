"""Variance, mean, angle and distance of two models, tensor by tensor: appendices A, B and C of the paper."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.weights import cosine, distance

SPHERE_RATIO = 1.25
"""Two variances lie on one sphere for practical purposes if their ratio is at most this, either way round."""

CHANCE = 3.0
"""Standard deviations by which the log ratio of two small tensors' variances may differ from 0 by chance."""


def apart(ratio: float, count: int) -> bool:
    """Whether tensors of ``count`` elements whose variances have this ratio lie on different spheres.

    They do if the ratio is over `SPHERE_RATIO`, either way round, by more than sampling noise for so few elements: the
    logarithm of the ratio of two sample variances has a standard deviation of ``sqrt(4/count)``.
    """
    return ratio <= 0 or abs(math.log(ratio)) > math.log(SPHERE_RATIO) + CHANCE * (4 / count) ** 0.5


@dataclass(frozen=True)
class LayerStatistics:
    """How one tensor of A compares with B's, computed in float32 or better.

    Attributes:
        name: plain name of the tensor.
        shape: of both.
        variance_a: over all elements, about the mean.
        variance_b: likewise.
        ratio: B's variance over A's; infinite if only A's is 0, and 1 if both are.
        cosine: of the angle between them, seen from the origin.
        distance: Euclidean.
        mean_a: over all elements.
        mean_b: likewise.
    """

    name: str
    shape: tuple[int, ...]
    variance_a: float
    variance_b: float
    ratio: float
    cosine: float
    distance: float
    mean_a: float
    mean_b: float

    @property
    def off_centre(self) -> float:
        """The larger |mean| over standard deviation of the two: how far the sphere's centre is from the origin."""
        pairs = ((self.mean_a, self.variance_a), (self.mean_b, self.variance_b))
        return max((abs(mean) / v**0.5 if v > 0 else float("inf") if mean else 0.0) for mean, v in pairs)

    @property
    def same_sphere(self) -> bool:
        """Whether the two tensors do not lie `apart`; constant ones have no sphere, so they count as the same."""
        constant = self.variance_a == 0 or self.variance_b == 0
        return constant or not apart(self.ratio, math.prod(self.shape))


def layer_statistics(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> list[LayerStatistics]:
    """Variance, mean, angle and distance of every floating-point tensor of ≥ 2 dimensions, in the order of ``a``.

    Tensors without elements have none of these and are left out.

    Args:
        a: weights by plain name.
        b: weights with the names and shapes of ``a``.
    """
    return [_statistics(k, t, b[k]) for k, t in a.items() if t.is_floating_point() and t.dim() >= 2 and t.numel()]


def off_sphere(rows: Iterable[LayerStatistics]) -> list[LayerStatistics]:
    """The rows whose tensors lie on different variance spheres; a single one calls for a walk across spheres."""
    return [row for row in rows if not row.same_sphere]


def _statistics(name: str, a: Tensor, b: Tensor) -> LayerStatistics:
    """One row of `layer_statistics`."""
    (mean_a, std_a), (mean_b, std_b) = ([float(m) for m in sphere.moments(t)] for t in (a, b))
    variance_a, variance_b = std_a**2, std_b**2
    ratio = variance_b / variance_a if variance_a else (float("inf") if variance_b else 1.0)
    one, other = {name: a}, {name: b}
    angle, gap = cosine(one, other), distance(one, other)
    return LayerStatistics(name, tuple(a.shape), variance_a, variance_b, ratio, angle, gap, mean_a, mean_b)
