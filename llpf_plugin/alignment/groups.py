"""Symmetry groups of a network as values: what may be done to which units, and where they are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["permutation", "scaling", "factors", "rotary", "orthogonal", "invertible"]
"""What may be done to the units of a group: change places; besides that, be scaled by positive factors; only be scaled,
by any numbers but 0; in pairs be multiplied by complex numbers, as rotary positions allow; be rotated; or be mixed by
any invertible matrix."""

Change = Tensor
"""What is done to the units of a group, in each of its blocks: ``int64`` ``[blocks, units]`` is a permutation (the i-th
unit is the ``change[i]``-th of before), real ``[blocks, units]`` are factors, complex ``[blocks, units / 2]`` multiply
the first half of the units as real parts and the second half as imaginary ones, ``[blocks, units, units]`` mixes."""

RECENT = 4
"""Absorbed tensors that are kept: those that one group is seen in are read several times."""


@dataclass(frozen=True)
class Place:
    """Where the units of a group are seen.

    Attributes:
        tensor: its name.
        axis: of the tensor.
        index: positions on the axis, ``[blocks, units, rest]``: what is done to a unit is done to all of the rest.
        dual: whether it is contracted with the units, so that the inverse transpose is done to it.
    """

    tensor: str
    axis: int
    index: Tensor
    dual: bool = False

    @property
    def where(self) -> tuple[str, int, tuple[int, ...]]:
        """The tensor, its axis, and the positions on it, whatever blocks they are in."""
        return self.tensor, self.axis, tuple(self.index.flatten().tolist())

    def rows(self, tensor: Tensor) -> Tensor:
        """The tensor as ``[blocks, units, all the rest]``, a view of it where that is possible."""
        moved, start = tensor.movedim(self.axis, 0), self._start
        if start is None:
            return moved[self.index.to(tensor.device)].flatten(2)
        return moved.narrow(0, start, self.index.numel()).reshape(*self.index.shape, *moved.shape[1:]).flatten(2)

    def apply(self, tensor: Tensor, change: Change) -> Tensor:
        """The tensor with a change made to its units."""
        return self.mapped(tensor, lambda rows: changed(rows, change.to(tensor.device), self.dual))

    def mapped(self, tensor: Tensor, new: Callable[[Tensor], Tensor]) -> Tensor:
        """The tensor with something of the same shape in place of its `rows`; gradients pass.

        Args:
            tensor: whose axis it is.
            new: of ``[blocks, units, all the rest]``.
        """
        moved, start, count = tensor.movedim(self.axis, 0), self._start, self.index.numel()
        if start is None:
            index, result = self.index.to(tensor.device), moved.clone()
            rows = moved[index]
            result[index] = new(rows.flatten(2)).reshape(rows.shape)
        else:  # a view is enough, which is several times faster than picking rows, above all for gradients
            own = moved.narrow(0, start, count)
            rows = own.reshape(*self.index.shape, *moved.shape[1:])
            result = new(rows.flatten(2)).reshape(own.shape)
            if count < len(moved):
                result = torch.cat([moved[:start], result, moved[start + count :]])
        return result.movedim(0, self.axis).contiguous()

    @cached_property
    def _start(self) -> int | None:
        """The first position, if the positions follow one another on the axis."""
        flat = self.index.flatten()
        ordered = torch.equal(flat, torch.arange(len(flat), device=flat.device) + flat[0])
        return int(flat[0]) if ordered else None


def changed(rows: Tensor, change: Change, dual: bool = False) -> Tensor:
    """Rows ``[blocks, units, rest]`` with a change made to the units, or its inverse transpose."""
    if not change.is_floating_point() and not change.is_complex():
        return torch.take_along_dim(rows, change.unsqueeze(-1), 1)
    if change.is_complex():
        real, imaginary = rows.double().chunk(2, 1)
        turned = torch.complex(real, imaginary) * (1 / change.conj() if dual else change).unsqueeze(-1)
        return torch.cat([turned.real, turned.imag], 1).to(rows.dtype)
    dtype = torch.promote_types(rows.dtype, torch.float32)
    if change.dim() == 2:
        return (rows.to(dtype) * (1 / change if dual else change).unsqueeze(-1).to(dtype)).to(rows.dtype)
    matrix = torch.linalg.inv(change).mT if dual else change
    return (matrix.to(dtype) @ rows.to(dtype)).to(rows.dtype)


@dataclass(frozen=True)
class Absorption:
    """A scale γ that stands between two axes: multiplied into what reads the one, the network computes the same.

    Where γ is absorbed everywhere, units before and after it are the same ones; only so can they be rotated. Afterwards
    any γ can be taken out again, so that B gets A's.

    Attributes:
        gamma: name of the vector, ``[units]``.
        times: places that γ is multiplied into.
        by: places that are divided by it.
    """

    gamma: str
    times: tuple[Place, ...]
    by: tuple[Place, ...]

    def put(self, weights: MutableMapping[str, Tensor], gamma: Tensor, out: bool = False) -> None:
        """Multiply γ in, or take it ``out`` again."""
        for places, divide in ((self.times, out), (self.by, not out)):
            for place in places:
                if place.tensor in weights:
                    factors = (1 / gamma.double() if divide else gamma.double())[None]
                    weights[place.tensor] = replace(place, dual=False).apply(weights[place.tensor], factors)


@dataclass(frozen=True)
class Group:
    """Units that something may be done to while the network computes the same, and every place where they are seen.

    Attributes:
        name: the first place, as ``tensor[axis]``.
        places: all of them; a change is made to each.
        kind: the changes that are allowed.
        ones: whether rotations may move the vector of ones (LayerNorm's mean).
        absorptions: scales that have to be absorbed before the units are rotated.
    """

    name: str
    places: tuple[Place, ...]
    kind: Kind = "permutation"
    ones: bool = True
    absorptions: tuple[Absorption, ...] = ()

    @property
    def blocks(self) -> int:
        """How many sets of units there are, each of which is changed by itself."""
        return self.places[0].index.shape[0]

    @property
    def size(self) -> int:
        """The number of units of a block."""
        return self.places[0].index.shape[1]

    @property
    def tensors(self) -> list[str]:
        """Names of all tensors that it is seen in, without those that are absorbed."""
        return list(dict.fromkeys(place.tensor for place in self.places))


@dataclass(frozen=True)
class Symmetry:
    """The symmetries of a network.

    Attributes:
        groups: each verified; changes of several of them can be combined.
        rejected: names of groups that changed the output when they were tried.
        left: parameters of two or more axes whose outputs (first axis) are in no group, with the reason: these stay as
            they are.
    """

    groups: tuple[Group, ...]
    rejected: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)

    @property
    def done(self) -> str:
        """What is done to units, in words, such as ``re-ordered, scaled and rotated``."""
        kinds = {group.kind for group in self.groups}
        scaled, rotated = kinds & {"scaling", "factors"}, kinds & {"rotary", "orthogonal", "invertible"}
        more = [*(["scaled"] if scaled else []), *(["rotated"] if rotated else [])]
        return " and ".join([", ".join(["re-ordered", *more[:-1]]), *more[-1:]])

    def absorbed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights that compute the same, with the scales of all groups multiplied into what reads them."""
        result = dict(weights)
        self.absorb(result)
        return result

    def absorb(self, weights: MutableMapping[str, Tensor]) -> None:
        """`absorbed`, in place of tensors."""
        for absorption in self._absorptions():
            gamma = weights[absorption.gamma].clone()
            absorption.put(weights, gamma)
            weights[absorption.gamma] = torch.ones_like(gamma)

    def restored(self, weights: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Absorbed weights with the scales of other ones, ``like``, taken out: they compute the same."""
        result = dict(weights)
        self.restore(result, like)
        return result

    def restore(self, weights: MutableMapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
        """`restored`, in place of tensors."""
        for absorption in self._absorptions():
            gamma = like[absorption.gamma]
            absorption.put(weights, gamma, out=True)
            weights[absorption.gamma] = gamma.clone()

    def _absorptions(self) -> Sequence[Absorption]:
        return [absorption for group in self.groups for absorption in group.absorptions]

    def change(self, weights: Mapping[str, Tensor], changes: Mapping[str, Change]) -> dict[str, Tensor]:
        """Absorbed weights, or those of a network without absorptions, that compute the same.

        Args:
            weights: parameters and buffers by name; not changed.
            changes: by group name; groups that are not named stay.
        """
        result = dict(weights)
        for group in self.groups:
            if group.name in changes:
                apply(result, group, changes[group.name])
        return result


class Absorbed(Mapping[str, Tensor]):
    """The tensors of `Symmetry.absorbed`, each made when it is asked for, so that no second model is held.

    Args:
        found: the symmetries.
        weights: complete; not changed.
        names: of the tensors that there are.
    """

    def __init__(self, found: Symmetry, weights: Mapping[str, Tensor], names: Iterable[str]) -> None:
        self.weights, self.names = weights, dict.fromkeys(names)
        self._recent = lru_cache(RECENT)(self._made)
        self.of: dict[str, list[Group]] = {}
        for group in found.groups:
            for one in group.absorptions:
                only = replace(group, absorptions=(one,))
                for name in dict.fromkeys([one.gamma, *(place.tensor for place in (*one.times, *one.by))]):
                    self.of.setdefault(name, []).append(only)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(name)
        return self._recent(name)

    def _made(self, name: str) -> Tensor:
        own = {name: self.weights[name]}
        for group in self.of.get(name, []):
            gamma = group.absorptions[0].gamma
            own = Symmetry((group,)).absorbed({gamma: self.weights[gamma], **own})
        return own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def inverse(change: Change) -> Change:
    """What undoes a change."""
    if not change.is_floating_point() and not change.is_complex():
        return change.argsort(-1)
    return 1 / change if change.dim() == 2 else torch.linalg.inv(change)


def apply(weights: MutableMapping[str, Tensor], group: Group, change: Change) -> None:
    """Make a change to the units of one group, in place of its tensors."""
    matrix = change.dim() == 3
    of_dual = (change if group.kind == "orthogonal" else torch.linalg.inv(change).mT) if matrix else change
    for place in group.places:
        if place.tensor in weights:
            own = replace(place, dual=False) if matrix else place
            weights[place.tensor] = own.apply(weights[place.tensor], of_dual if place.dual else change)
