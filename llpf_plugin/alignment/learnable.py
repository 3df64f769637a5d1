"""Changes that a symmetry allows as functions of numbers whose gradients lead to better ones.

All but permutations are exponentials: of skew-symmetric matrices for rotations, of any matrices for invertible ones, of
real numbers for factors, of complex ones for rotary pairs. At zero nothing is changed, and every change is inverted by
the opposite numbers, so that none that is learned can fail to be a symmetry.

A permutation is the assignment of the largest sum over a matrix of scores. Its gradient is that of the doubly
stochastic matrix that Sinkhorn's iteration makes of the scores: the soft matrix of Peña et al. (2023, arXiv 2212.12042)
behind a straight-through estimator, so that every loss is that of a network that computes what B does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from llpf_plugin.alignment.groups import Change, Group
from llpf_plugin.alignment.nearest import permutation

AHEAD, TEMPERATURE, ROUNDS = 1.0, 0.3, 5
"""By how much the score of a unit's own place is ahead at first; what Sinkhorn's iteration divides scores by, and its
rounds."""

WIDTH = 32
"""Units of a block whose generator has the numbers as its elements. A step of Adam moves every number as far as the
others, and so a matrix of n units by √n as much: of more units they count for less."""

FACTORS = ("scaling", "factors")
"""The kinds of groups whose units are multiplied by a number each."""

Numbers = Mapping[str, Tensor]
"""What is learned, as `numbers_of` names it."""

Map = Callable[[Tensor], Tensor]
"""What is done to rows ``[blocks, units, rest]``."""


def worth_learning(groups: Sequence[Group]) -> list[Group]:
    """The groups of all kinds but permutations; the permutations where there is nothing else.

    Beside changes that are smooth, learning the order as well made lines higher (docs/alignment.md).
    """
    smooth = [group for group in groups if group.kind != "permutation"]
    return smooth or list(groups)


def numbers_of(groups: Sequence[Group], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The numbers at which every group is as it is; ``float32`` leaves that need a gradient.

    Returns:
        By group name: ``[blocks, units]`` logarithms of factors; ``[2, blocks, units / 2]`` logarithms of moduli, and
        angles; ``[blocks, units, units]`` generators of matrices, or scores.
    """
    found = {}
    for group in groups:
        if group.kind == "permutation":
            found[group.name] = AHEAD * torch.eye(group.size).repeat(group.blocks, 1, 1)
        else:
            found[group.name] = torch.zeros(_shape(group))
    return {name: start.to(device).requires_grad_() for name, start in found.items()}


def _shape(group: Group) -> tuple[int, ...]:
    if group.kind in FACTORS:
        return group.blocks, group.size
    return (2, group.blocks, group.size // 2) if group.kind == "rotary" else (group.blocks, group.size, group.size)


def transformed(weights: Mapping[str, Tensor], groups: Sequence[Group], numbers: Numbers) -> dict[str, Tensor]:
    """Absorbed weights with every change made to them, as a function of the numbers; gradients pass.

    Args:
        weights: by name; what a group has in other tensors is passed over.
        groups: of the symmetry.
        numbers: of all of them.
    """
    result = dict(weights)
    for group in groups:
        own, dual = _maps(group, numbers[group.name])
        for place in group.places:
            if place.tensor in result:
                result[place.tensor] = place.mapped(result[place.tensor], dual if place.dual else own)
    return result


@torch.no_grad()
def exact(groups: Sequence[Group], numbers: Numbers) -> dict[str, Change]:
    """The changes that `transformed` makes, in ``float64``, by group name; none where a number is not finite."""
    if not all(own.isfinite().all() for own in numbers.values()):
        return {}
    return {group.name: _change(group, numbers[group.name].double().cpu()) for group in groups}


def _straight_through(scores: Tensor) -> Tensor:
    """Permutation matrices ``[blocks, units, units]`` with the gradient of soft ones."""
    hard = torch.nn.functional.one_hot(permutation(scores.detach().nan_to_num()), scores.shape[-1]).to(scores)
    soft = _sinkhorn(scores / TEMPERATURE)
    return hard + (soft - soft.detach())


def _sinkhorn(logits: Tensor) -> Tensor:
    """Doubly stochastic matrices, by normalising rows and columns in turns (Sinkhorn, 1964)."""
    for _ in range(ROUNDS):
        logits = logits - logits.logsumexp(-1, keepdim=True)
        logits = logits - logits.logsumexp(-2, keepdim=True)
    return logits.exp()


def _maps(group: Group, numbers: Tensor) -> tuple[Map, Map]:
    """What is done to rows of the units, and to rows of their duals: its inverse transpose, without inverting."""
    if group.kind == "permutation":
        order = _straight_through(numbers)
        return order.matmul, order.matmul
    change = _change(group, numbers)
    if group.kind in FACTORS:
        return _times(change), _times(_change(group, -numbers))
    if group.kind == "rotary":  # as a real matrix; the inverse transpose of a rotation is itself
        return _turning(change), _turning(_change(group, torch.stack([-numbers[0], numbers[1]])))
    return change.matmul, (change if group.kind == "orthogonal" else _change(group, -numbers).mT).matmul


def _change(group: Group, numbers: Tensor) -> Change:
    """The change that some numbers stand for; gradients pass, but for permutations."""
    if group.kind == "permutation":
        return permutation(numbers)
    if group.kind in FACTORS:  # of units whose signs were matched
        return numbers.exp()
    if group.kind == "rotary":
        return torch.polar(numbers[0].exp(), numbers[1])
    generator = numbers * (WIDTH / group.size) ** 0.5
    return torch.linalg.matrix_exp(_skew(group, generator) if group.kind == "orthogonal" else generator)


def _skew(group: Group, numbers: Tensor) -> Tensor:
    """The skew-symmetric part, whose exponential is a rotation, and leaves the ones where the group has to."""
    skew = numbers - numbers.mT
    if group.ones:
        return skew
    skew = skew - skew.mean(-1, keepdim=True)
    return skew - skew.mean(-2, keepdim=True)


def _times(factors: Tensor) -> Map:
    return lambda rows: rows * factors.unsqueeze(-1)


def _turning(factors: Tensor) -> Map:
    """Multiply by complex factors, the first half of the units being real parts and the second half imaginary ones."""
    c, s = factors.real.unsqueeze(-1), factors.imag.unsqueeze(-1)

    def turn(rows: Tensor) -> Tensor:
        real, imaginary = rows.chunk(2, 1)
        return torch.cat([c * real - s * imaginary, s * real + c * imaginary], 1)

    return turn
