"""All that must hold of a pair and its model before any work."""

from collections.abc import Mapping

from torch import Tensor, nn

from llpf_plugin.geometry.weights import Weights
from llpf_plugin.preflight.finding import Finding, raise_errors
from llpf_plugin.preflight.fit import complete, fits
from llpf_plugin.preflight.pair import compare


def look(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], model: nn.Module, names: tuple[str, str] = ("A", "B")
) -> list[Finding]:
    """Everything that `fits` finds of each and `compare` finds of both."""
    each = [found for weights, name in zip((a, b), names, strict=True) for found in fits(weights, model, name)]
    return each + compare(a, b, names, model)


def check_pair(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], model: nn.Module, names: tuple[str, str] = ("A", "B")
) -> tuple[Weights, Weights]:
    """Both state dicts with every name that the model has.

    Raises:
        MismatchError: all errors at once, each with its place and its remedy.
    """
    raise_errors(look(a, b, model, names))
    own = model.state_dict()
    return complete(a, own), complete(b, own)
