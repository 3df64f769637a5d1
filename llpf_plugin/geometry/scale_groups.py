"""What a leg towards the origin moves: the matrices of a model, each with the vectors that go with it.

The rules, layer by layer:

- a matrix (any tensor of ≥ 2 dimensions that has a variance sphere) is a unit, with its layer's vectors (biases);
- a normalization is none, whatever the shape of its scale: it rescales what it normalizes;
- the magnitude of a weight-normalised layer is its scale, so it is none either; the direction is a unit of its own;
- spectrally normalised weights are units like any other; `llpf_plugin.llpf.scale_invariance` finds that they are scale-invariant;
- tied weights are one tensor: one unit, one sphere, one leg;
- vectors of layers without a matrix (a class token of one dimension, PReLU) are none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from llpf_plugin.geometry.sphere import has_sphere, is_magnitude, variance
from llpf_plugin.geometry.weights import coordinates
from llpf_plugin.order import owners


@dataclass(frozen=True)
class Unit:
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
        """What the unit must be multiplied by for its matrix to have the variance ``target``."""
        return float((target / variance(weights[self.matrix])) ** 0.5)


def units(model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> list[Unit]:
    """The units of a model, in the order of registration.

    Args:
        model: tells the layers.
        weights: tell which tensors have a sphere (default: the model's own).
    """
    weights = coordinates(model) if weights is None else weights
    found: list[Unit] = []
    for owner in owners(model).values():
        names = [k for k in owner.parameters if k in weights and not is_magnitude(k, owner.parameters)]
        matrices = [k for k in names if weights[k].dim() >= 2 and has_sphere(weights[k])]
        if owner.is_norm or not matrices:
            continue
        directed = len(names) < len(owner.parameters)  # its magnitude scales what the direction does not
        vectors = () if directed else tuple(k for k in names if weights[k].dim() < 2)
        found += [Unit(k, vectors if i == 0 else ()) for i, k in enumerate(matrices)]
    return found
