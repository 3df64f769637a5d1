"""Scale groups: what a leg towards the origin moves, a matrix with the vectors that are scaled with it.

The rules, layer by layer:

- a matrix (any tensor of ≥ 2 dimensions that has a variance sphere) makes a group, with its layer's vectors (biases);
- a normalization makes none, whatever the shape of its scale: it rescales what it normalizes;
- the magnitude of a weight-normalised layer is its scale and belongs to none; the direction is a group of its own;
- spectrally normalised weights are groups like any other; `llpf_plugin.llpf.common_spheres` finds them scale-invariant;
- tied weights are one tensor: one group, one sphere, one leg;
- vectors of layers without a matrix (a class token of one dimension, PReLU) belong to none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llpf_plugin.geometry.sphere import has_sphere, is_magnitude, moments, variance
from llpf_plugin.geometry.weights import coordinates
from llpf_plugin.order.layers import owners


@dataclass(frozen=True)
class ScaleGroup:
    """A matrix and the vectors that are scaled along with it.

    Attributes:
        matrix: name of the tensor whose variance counts.
        along: names of the vectors.
    """

    matrix: str
    along: Sequence[str] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The matrix, then the vectors."""
        return (self.matrix, *self.along)

    def factor(self, weights: Mapping[str, Tensor], target: float) -> float:
        """What the group must be multiplied by for its matrix to have the variance ``target``."""
        return float((target / variance(weights[self.matrix])) ** 0.5)


def scale_groups(model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> list[ScaleGroup]:
    """The scale groups of a model, in the order of registration.

    Args:
        model: tells the layers.
        weights: tell which tensors have a sphere (default: the model's own).
    """
    weights = coordinates(model) if weights is None else weights
    found: list[ScaleGroup] = []
    for owner in owners(model).values():
        names = [k for k in owner.parameters if k in weights and not is_magnitude(k, owner.parameters)]
        matrices = [k for k in names if weights[k].dim() >= 2 and has_sphere(weights[k])]
        if owner.is_norm or not matrices:
            continue
        # Of a weight-normalised layer, the magnitude scales what the direction does not.
        directed = any(is_magnitude(k, owner.parameters) for k in owner.parameters)
        vectors = () if directed else tuple(k for k in names if weights[k].dim() < 2)
        found += [ScaleGroup(k, vectors if i == 0 else ()) for i, k in enumerate(matrices)]
    return found


def variances(weights: Mapping[str, Tensor], groups: Sequence[ScaleGroup]) -> Tensor:
    """The variance of every group's matrix, ``[groups]`` in float64 on the CPU; one read from the device."""
    return torch.stack([moments(weights[group.matrix])[1] for group in groups]).cpu().double() ** 2


@torch.no_grad()
def rescale_(weights: Mapping[str, Tensor], groups: Sequence[ScaleGroup], targets: Mapping[str, float]) -> None:
    """Scale every group about the origin, in place, so that its matrix has the variance in ``targets``."""
    for group in groups:
        factor = group.factor(weights, targets[group.matrix])
        for name in group.names:
            weights[name].mul_(factor)
