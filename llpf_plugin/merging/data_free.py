"""What can be done without data: B's units in A's order, and the mean of models on the variance spheres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from llpf_plugin import preflight
from llpf_plugin.alignment.groups import Symmetry
from llpf_plugin.alignment.matching import Matching, match
from llpf_plugin.evaluation.outputs import difference_of_outputs
from llpf_plugin.evaluation.running import statistics_of
from llpf_plugin.geometry.sphere import is_magnitude, mean_on_sphere
from llpf_plugin.geometry.weights import Weights, coordinates, lend, tied, ties
from llpf_plugin.merging.pair import Source


@dataclass(frozen=True)
class Aligned:
    """A model in the order of another one's units.

    Attributes:
        source: the model as it was; ``source.like`` is the form of its file.
        matching: what was found; its ``weights`` have the dtypes of the source.
        difference: the largest absolute difference of the outputs of both, over the largest output.
    """

    source: Source
    matching: Matching
    difference: float


def align_to(a: Source, b: Source, model: nn.Module, example_inputs: Any, known: Symmetry) -> Aligned:
    """Bring B's units into A's order, and see that it still computes the same.

    Args:
        a: the model that sets the order.
        b: the other one.
        model: that both are loaded into, in float32. Afterwards its weights are A's, in A's memory.
        example_inputs: what it is called with, as of `layer_order`.
        known: the model's symmetries.

    Raises:
        MismatchError: the two do not fit each other or the model, or their folders mean different things.
    """
    preflight.check_beside(a.like, b.like, (a.name, b.name))
    start, end = preflight.check_pair(a.weights, b.weights, model, (a.name, b.name))
    lend(model, start)
    found = match(start, end, model, known)
    weights = {name: t.to(end[name].dtype) for name, t in found.weights.items()}
    gap = difference_of_outputs(model, example_inputs, end, weights)
    return Aligned(b, replace(found, weights=weights), gap)


def mean_on_spheres(models: Sequence[Mapping[str, Tensor]], shares: Sequence[float], model: nn.Module) -> Weights:
    """The weighted mean of models, every matrix projected on the sphere between theirs.

    The mean of independent matrices has a smaller variance than they have. It gets the weighted mean of their variances
    back, as a point of a `SphereCurve` does. Vectors, and running statistics, are weighted means; every other buffer is
    the first model's.

    Args:
        models: complete state dicts, aligned to the first.
        shares: what each counts, 1 in all.
        model: tells parameters from buffers.

    Returns:
        A complete state dict, float tensors that are means in float64.
    """
    first, own = models[0], coordinates(model)
    averaged = [name for name in (*own, *statistics_of(model)) if name in first]
    matrices = {name for name in own if own[name].dim() >= 2 and not is_magnitude(name, own)}
    found = dict(first)
    for name in averaged:
        found[name] = mean_on_sphere([weights[name].cpu() for weights in models], shares, name in matrices)
    return tied(found, ties(model))
