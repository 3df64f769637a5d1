"""Weight matching (Git Re-Basin, Ainsworth et al., 2023, algorithm 1): B's units in the order that is nearest to A.

The aligned B computes the same as B; only its weights change places. By itself it makes averaging work where networks
are wide; before any method it shortens the way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from llpf_plugin.alignment.groups import Group, Symmetry
from llpf_plugin.alignment.symmetry import symmetry
from llpf_plugin.geometry.weights import Weights, coordinates, distance, select, ties
from llpf_plugin.tasks.data import generator
from llpf_plugin.tasks.task import Task

SWEEPS, GAIN = 100, 1e-12
"""The most sweeps over all groups, and the gain at or below which a sweep is the last."""


@dataclass(frozen=True)
class Matching:
    """The result of matching.

    Attributes:
        weights: B with its units in A's order: the same function.
        permutations: by group name, for each unit of A the unit of B that takes its place; 1-d, ``int64``.
        symmetry: the groups, and what was left alone.
        distance: Euclidean, from A to B over all coordinates, before and after.
        sweeps: their number over all groups.
    """

    weights: Weights
    permutations: Mapping[str, Tensor]
    symmetry: Symmetry
    distance: tuple[float, float]
    sweeps: int


def match(a: Mapping[str, Tensor], b: Mapping[str, Tensor], groups: Symmetry, seed: int = 0) -> dict[str, Tensor]:
    """Permutations of B's units that maximise ``Σ ⟨A, πB⟩`` over all tensors, one group at a time.

    Args:
        a: parameters of A by name; only names that are here count, so leave buffers out.
        b: those of B.
        groups: what may be permuted.
        seed: of the order in which groups are visited.

    Returns:
        By group name, ``π`` (1-d): the i-th unit of the aligned B is the ``π[i]``-th of B.
    """
    return _sweeps(a, b, groups, seed)[0]


def _sweeps(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], groups: Symmetry, seed: int
) -> tuple[dict[str, Tensor], int]:
    found = {group.name: torch.arange(group.size) for group in groups.groups}
    now = dict(b)
    for sweep in range(SWEEPS):
        gained = 0.0
        order = torch.randperm(len(groups.groups), generator=generator("cpu", seed, sweep, "matching"))
        for group in (groups.groups[i] for i in order.tolist()):
            permutation = _assign(a, now, group)
            moved = groups.permute(now, {group.name: permutation})
            names = {place.tensor for place in group.places} & a.keys()
            gain = _similar(a, moved, names) - _similar(a, now, names)
            if gain > GAIN:
                gained += gain
                found[group.name] = found[group.name][permutation]
                now = moved
        if gained <= GAIN:
            return found, sweep + 1
    return found, SWEEPS


def _assign(a: Mapping[str, Tensor], b: Mapping[str, Tensor], group: Group) -> Tensor:
    """The best permutation of one group while the others stay as they are.

    Where a tensor has the group on two axes, the second is taken as it is now; the caller looks at the true gain.
    """
    similar = torch.zeros(group.size, group.size, dtype=torch.float64)
    for place in group.places:
        if place.tensor in a:
            rows, columns = (place.rows(w[place.tensor].double().cpu()) for w in (a, b))
            similar += rows @ columns.T
    return torch.as_tensor(linear_sum_assignment(similar.numpy(), maximize=True)[1])


def _similar(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: Iterable[str]) -> float:
    """``Σ ⟨A, B⟩`` over some tensors."""
    return sum(float((a[k].double() * b[k].double()).sum()) for k in sorted(names))


def align(a: Weights, b: Weights, task: Task, seed: int = 0) -> Matching:
    """Bring B's units into A's order.

    Args:
        a: complete state dict of A.
        b: complete state dict of B; not changed.
        task: whose model is traced for its symmetries.
        seed: of the order in which groups are visited.

    Raises:
        OrderError: the model cannot be traced.
    """
    return align_models(a, b, task.model, task.example_inputs(), seed)


def align_models(a: Weights, b: Weights, model: nn.Module, example_inputs: Any, seed: int = 0) -> Matching:
    """`align` without a task: data play no part in it.

    Args:
        a: complete state dict of A.
        b: complete state dict of B; not changed.
        model: traced for its symmetries, and left as it was.
        example_inputs: what it is called with, as of `layer_order`.
        seed: of the order in which groups are visited.

    Raises:
        OrderError: the model cannot be traced.
    """
    groups = symmetry(model, example_inputs)
    own = list(coordinates(model))
    before, target = select(b, own), select(a, own)
    permutations, sweeps = _sweeps(target, before, groups, seed)
    weights = groups.permute(b, permutations)
    weights.update({name: weights[first] for name, first in ties(model).items() if name in weights})
    lengths = distance(target, before), distance(target, select(weights, own))
    return Matching(weights, permutations, groups, lengths, sweeps)
