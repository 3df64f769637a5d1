"""Permutation groups of a network as values: what may change places, and where it is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Place:
    """Where the units of a group are: ``tensor``'s axis ``axis``, seen as ``sizes``, whose ``factor``-th it is."""

    tensor: str
    axis: int
    sizes: tuple[int, ...]
    factor: int

    def permute(self, tensor: Tensor, permutation: Tensor) -> Tensor:
        """The tensor with its units in a different order: the i-th is the ``permutation[i]``-th of before."""
        shape = tensor.shape
        split = tensor.reshape(*shape[: self.axis], *self.sizes, *shape[self.axis + 1 :])
        return split.index_select(self.axis + self.factor, permutation.to(tensor.device)).reshape(shape)

    def rows(self, tensor: Tensor) -> Tensor:
        """The tensor as ``[units, all the rest]``."""
        shape = tensor.shape
        split = tensor.reshape(*shape[: self.axis], *self.sizes, *shape[self.axis + 1 :])
        return split.movedim(self.axis + self.factor, 0).reshape(self.sizes[self.factor], -1)


@dataclass(frozen=True)
class Group:
    """Units that can be exchanged with one another, and every place where they are seen.

    Attributes:
        name: the first place, as ``tensor[axis]``.
        size: the number of units.
        places: all of them; one permutation goes to each.
    """

    name: str
    size: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Symmetry:
    """The permutation symmetries of a network.

    Attributes:
        groups: each verified; permutations of several of them can be combined.
        rejected: names of groups that changed the output when they were tried.
        left: parameters of two or more axes whose outputs (first axis) are in no group: they stay as they are.
    """

    groups: tuple[Group, ...]
    rejected: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def permute(self, weights: Mapping[str, Tensor], permutations: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights that compute the same, with their units in a different order.

        Args:
            weights: parameters and buffers by name; not changed.
            permutations: by group name, 1-d of its size; groups that are not named stay.
        """
        result = dict(weights)
        for group in self.groups:
            if group.name in permutations:
                for place in group.places:
                    if place.tensor in result:
                        result[place.tensor] = place.permute(result[place.tensor], permutations[group.name])
        return result
