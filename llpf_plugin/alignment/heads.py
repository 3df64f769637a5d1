"""Units whose order is found before something else is done to them: heads, which hold units of their own, and gates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from llpf_plugin.alignment.groups import Group, Place

MOST = 16
"""Queries that are told apart where they share a key."""

Rows = Callable[[Sequence[Place], bool], Iterable[tuple[Tensor, Tensor]]]


def dependents(group: Group, groups: Sequence[Group]) -> list[Group]:
    """The groups that are solved with a permutation: the factors of its gate, or those whose blocks are its units."""
    if group.kind != "permutation" or group.blocks != 1:
        return []
    gates = [one for one in groups if one.kind == "factors" and one.size == group.size and _is_gate(one, group)]
    return gates or [one for one in groups if one is not group and one.blocks == group.size > 1 and _inside(one, group)]


def _is_gate(inner: Group, outer: Group) -> bool:
    """Whether the units of a gate's factor are those of a group."""
    return {place.where for place in inner.places} <= {place.where for place in outer.places}


def _inside(inner: Group, outer: Group) -> bool:
    """Whether every block of a group is within a unit of the other, wherever it is seen."""
    for place in inner.places:
        around = [p for p in outer.places if (p.tensor, p.axis) == (place.tensor, place.axis)]
        if not any(
            all(
                set(block.flatten().tolist()) <= set(unit.flatten().tolist())
                for block, unit in zip(place.index, p.index[0], strict=True)
            )
            for p in around
        ):
            return False
    return True


def head_similarity(rows: Rows, inner: Group) -> Tensor:
    """How similar A's i-th head is to B's j-th, ``[heads, heads]``, whatever was done to what is inside of them.

    The cosine of their circuits ``Pᵀ N``, where P are the rows of the inner units and N those of their duals: for
    queries and keys, and for values and outputs, that is all that the function sees (Elhage et al., 2021). Where
    several queries share a key, each has a circuit, and their order is not known: the root of the sum of squares over
    all pairs.
    """
    (p, n), (pp, nn), (aa, bb) = _products(rows, inner), _own(rows, inner, 1), _own(rows, inner, 0)
    circuits = torch.einsum("ijuvrs,ijuvtw->ijrstw", p, n).flatten(2)
    whole = circuits.sum(-1) if circuits.shape[-1] == 1 else circuits.square().sum(-1).sqrt()
    lengths = [(x * y).sum((-2, -1)).clamp_min(1e-300).sqrt() for x, y in ((aa, bb), (pp, nn))]
    return whole / (lengths[0].unsqueeze(-1) * lengths[1].unsqueeze(-2))


def _products(rows: Rows, inner: Group) -> tuple[Tensor, Tensor]:
    """``A_i B_jᵀ`` of units and of duals, ``[heads, heads, units, units, shared, shared]``."""
    found = []
    for dual in (False, True):
        places = [place for place in inner.places if place.dual == dual]
        shared = max((_shared(place) for place in places), default=1)
        total = torch.zeros(inner.blocks, inner.blocks, inner.size, inner.size, shared, shared, dtype=torch.float64)
        for place in places:
            for a, b in rows([place], dual):
                one, other = (x.unflatten(2, (_shared(place), -1)) for x in (a, b))
                total += torch.einsum("iurx,jvsx->ijuvrs", one, other).double().cpu()
        found.append(total)
    return found[0], found[1]


def _shared(place: Place) -> int:
    """How many share a head: queries of a key; more than a few are something else, such as places of an image."""
    number = place.index.shape[2]
    return number if number <= MOST else 1


def _own(rows: Rows, inner: Group, which: int) -> tuple[Tensor, Tensor]:
    """``A_i A_iᵀ`` of units and of duals, or B's."""
    found = []
    for dual in (False, True):
        total = torch.zeros(inner.blocks, inner.size, inner.size, dtype=torch.float64)
        for pair in rows(inner.places, dual):
            total += (pair[which] @ pair[which].mT).double().cpu()
        found.append(total)
    return found[0], found[1]
