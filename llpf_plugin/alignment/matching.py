"""Weight matching: B's units brought nearest to A's by what leaves its function as it is.

The aligned B computes the same as B. By itself this makes averaging work where networks are wide (Git Re-Basin,
Ainsworth et al., 2023) or are transformers (Theus et al., 2025, arXiv 2506.22712); before any method it shortens the
way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from llpf_plugin.alignment.candidates import absorbable
from llpf_plugin.alignment.groups import Absorbed, Symmetry
from llpf_plugin.alignment.sweeps import Sweeps
from llpf_plugin.alignment.symmetry import symmetry
from llpf_plugin.errors import MismatchError
from llpf_plugin.geometry.weights import Weights, coordinates, distance, select, tied, ties
from llpf_plugin.tasks.task import Task


@dataclass(frozen=True)
class Matching:
    """The result of matching.

    Attributes:
        weights: B with its units as A has them: the same function.
        permutations: by the name of a group whose units only change places, for each unit of A the unit of B that takes
            its place; ``[blocks, units]``, ``int64``.
        symmetry: the groups, and what was left alone.
        distance: Euclidean, from A to B over all coordinates, before and after.
        sweeps: their number over all groups.
    """

    weights: Weights
    permutations: Mapping[str, Tensor]
    symmetry: Symmetry
    distance: tuple[float, float]
    sweeps: int


def align(a: Weights, b: Weights, task: Task, seed: int = 0) -> Matching:
    """Bring B's units nearest to A's.

    Args:
        a: complete state dict of A.
        b: complete state dict of B; not changed.
        task: whose model is traced for its symmetries.
        seed: of the order in which groups are visited.

    Raises:
        MismatchError: a weight is not finite.
        OrderError: the model cannot be traced.
    """
    return align_models(a, b, task.model, task.example_inputs(), seed)


def align_models(a: Weights, b: Weights, model: nn.Module, example_inputs: Any, seed: int = 0) -> Matching:
    """Bring B's units nearest to A's, without a task: see `align`.

    Args:
        a: complete state dict of A.
        b: complete state dict of B; not changed.
        model: the network of both, traced for its symmetries.
        example_inputs: as of `layer_order`.
        seed: of the order in which groups are visited.

    Raises:
        MismatchError: a weight is not finite.
        OrderError: the model cannot be traced.
    """
    return match(a, b, model, symmetry(model, example_inputs), seed)


def match(a: Weights, b: Weights, model: nn.Module, found: Symmetry, seed: int = 0) -> Matching:
    """Bring B's units nearest to A's by symmetries that are known: see `align_models`.

    Raises:
        MismatchError: a weight is not finite.
    """
    own = list(coordinates(model))
    check_finite(own, a, b)
    found = absorbable(found, a, b)
    sweeps = Sweeps(Absorbed(found, a, own), found.absorbed(b), found.groups, seed)
    sweeps.run()
    found.restore(sweeps.b, a)
    weights = tied(sweeps.b, ties(model))
    weights = {name: weights[name] for name in b}
    lengths = distance(select(a, own), select(b, own)), distance(select(a, own), select(weights, own))
    return Matching(weights, sweeps.permutations, found, lengths, sweeps.count)


def check_finite(own: Sequence[str], *models: Weights) -> None:
    """Refuse models with weights that are not finite.

    Raises:
        MismatchError: with the name of the first such tensor.
    """
    for number, weights in enumerate(models, start=1):
        if bad := next((name for name in own if not weights[name].isfinite().all()), None):
            raise MismatchError(f"model {number}: {bad} is not finite, so that no units are near to its units")
