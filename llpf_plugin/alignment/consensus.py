"""More than two models in one frame: each is matched with the mean of the others until they come no nearer.

Generalised Procrustes analysis (Gower, 1975) with the symmetries of a network; for permutations it is MergeMany of Git
Re-Basin (Ainsworth et al., 2023, algorithm 3). Every model has one map into the frame, so that the maps around any
circle of models end where they began.

The sum of squared distances to the mean is ``Σⱼ‖xⱼ − m₋ᵢ‖² + (k−1)/k · ‖xᵢ − m₋ᵢ‖²`` with ``j ≠ i`` and the mean m₋ᵢ
of the others: only the last part knows where model i is. A match is taken where that falls, so no round raises the
sum. One model, the frame, stays as it is: else scales would drift together towards those of the smallest sum, whose
mean has no lower loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from llpf_plugin.alignment.candidates import absorbable
from llpf_plugin.alignment.groups import Change, Symmetry, inverse
from llpf_plugin.alignment.matching import check_finite
from llpf_plugin.alignment.sweeps import Sweeps
from llpf_plugin.alignment.symmetry import symmetry
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry.weights import Weights, coordinates, distance, select, tied, ties
from llpf_plugin.tasks.task import Task

ROUNDS, ENOUGH = 50, 1e-3
"""The most rounds; one is the last if it gains no more than this part of what the first one did."""


@dataclass(frozen=True)
class Consensus:
    """Models in one frame.

    Attributes:
        weights: every model as its units are in the frame, in the order of the models: the same functions.
        mean: of the aligned models. Running statistics are averaged too; estimate them again where there are data.
        symmetry: the groups, and what was left alone.
        frame: the number of the model whose units and scales are the frame's; it stays as it was.
        changes: for every model what was done to its units, each with the name of its group, one after another.
        distances: of every model to the mean of all, Euclidean over all coordinates, before and after.
        ties: the further names of tied parameters, each with the first one.
        rounds: in which each model was matched with the mean of the others.
        sweeps: their number over all groups and models.
    """

    weights: tuple[Weights, ...]
    mean: Weights
    symmetry: Symmetry
    frame: int
    changes: tuple[tuple[tuple[str, Change], ...], ...]
    distances: tuple[tuple[float, ...], tuple[float, ...]]
    ties: Mapping[str, str]
    rounds: int
    sweeps: int

    def carry(self, weights: Weights, start: int, end: int, like: Weights) -> Weights:
        """The same function with its units as another model has them: from model ``start`` to the frame to ``end``.

        So a server gives each client the mean in that client's own units: ``carry(mean, frame, client, own)``. Around
        any circle of models the weights come back, up to rounding.

        Args:
            weights: complete, in the units of model ``start``; not changed.
            start: number of a model.
            end: number of a model.
            like: whose scales (γ of normalizations) the result gets.
        """
        result = self.symmetry.absorbed(weights)
        back = [(name, inverse(change)) for name, change in reversed(self.changes[end])]
        for name, change in (*self.changes[start], *back):
            result = self.symmetry.change(result, {name: change})
        return tied(self.symmetry.restored(result, like), self.ties)


def align_all(models: Sequence[Weights], task: Task, frame: int = 0, seed: int = 0) -> Consensus:
    """Bring the units of any number of models nearest to each other.

    Args:
        models: complete state dicts of one architecture; not changed.
        task: whose model is traced for its symmetries.
        frame: the number of the model that stays as it is.
        seed: of the order in which groups are visited.

    Raises:
        LLPFError: no models, or there is none of that number; a weight is not finite.
        OrderError: the model cannot be traced.
    """
    return match_all(models, task.model, symmetry(task.model, task.example_inputs()), frame, seed)


def match_all(models: Sequence[Weights], model: nn.Module, found: Symmetry, frame: int = 0, seed: int = 0) -> Consensus:
    """Bring the units of any number of models nearest to each other by symmetries that are known: see `align_all`."""
    if not 0 <= frame < len(models):
        raise LLPFError(f"frame = {frame} for {len(models)} models: give the number of one of them, from 0 on")
    own = list(coordinates(model))
    check_finite(own, *models)
    found = absorbable(found, *models)
    meeting = _Meeting([found.absorbed(weights) for weights in models], own, found, frame, seed)
    meeting.run()
    names, restored = ties(model), (found.restored(weights, models[frame]) for weights in meeting.members)
    weights = [tied(one, names) for one in restored]
    weights[frame] = {name: tensor.clone() for name, tensor in models[frame].items()}
    changes, lengths = tuple(map(tuple, meeting.changes)), (_distances(models, own), _distances(weights, own))
    return Consensus(
        tuple(weights), mean(weights, frame), found, frame, changes, lengths, names, meeting.rounds, meeting.sweeps
    )


def _distances(models: Sequence[Weights], own: Sequence[str]) -> tuple[float, ...]:
    middle = mean([select(weights, own) for weights in models])
    return tuple(distance(middle, weights) for weights in models)


def mean(models: Sequence[Mapping[str, Tensor]], first: int = 0) -> Weights:
    """The mean of some models, summed in float64; tensors that are not floating point are the ``first`` one's."""
    like = models[first]
    return {
        name: _total([weights[name] for weights in models]).div(len(models)).to(tensor)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in like.items()
    }


def _total(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].double()
    for tensor in tensors[1:]:
        total = total + tensor.to(total)
    return total


class _Meeting:
    """Absorbed models on their way to each other."""

    def __init__(self, members: list[Weights], own: Sequence[str], found: Symmetry, frame: int, seed: int) -> None:
        self.members, self.own, self.found, self.frame, self.seed = members, own, found, frame, seed
        self.changes: list[list[tuple[str, Change]]] = [[] for _ in members]
        self.rounds = self.sweeps = 0

    def run(self) -> None:
        """Match all with the frame, then each with the mean of the others, until a round gains too little."""
        movable = [i for i in range(len(self.members)) if i != self.frame]
        for i in movable:
            self._match(i, self.members[self.frame])
        first, gained = 0.0, 1.0
        while len(movable) > 1 and self.rounds < ROUNDS and gained > ENOUGH * first:
            gained = sum(self._match(i, self._others(i)) for i in movable)
            first = first or gained
            self.rounds += 1

    def _others(self, i: int) -> Weights:
        """The mean of all but one."""
        return mean([select(weights, self.own) for j, weights in enumerate(self.members) if j != i])

    def _match(self, i: int, target: Weights) -> float:
        """Take the match of a model with a target if it comes nearer by it; by how much, in squared distance."""
        target, member = select(target, self.own), self.members[i]
        sweeps = Sweeps(target, dict(member), self.found.groups, self.seed + self.rounds)
        sweeps.run()
        self.sweeps += sweeps.count
        gain = distance(target, member) ** 2 - distance(target, sweeps.b) ** 2
        if gain <= 0:
            return 0.0
        self.members[i] = sweeps.b
        self.changes[i] += sweeps.changes
        return gain
