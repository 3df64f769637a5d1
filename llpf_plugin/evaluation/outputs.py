"""Whether two sets of weights compute the same, by what the model makes of its example inputs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.geometry.weights import assign, buffers, clone, lend
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.order.trace.tensors import tensors_in


def difference_of_outputs(
    model: nn.Module, example_inputs: Any, a: Mapping[str, Tensor], b: Mapping[str, Tensor]
) -> float:
    """The largest absolute difference of the outputs, over the largest absolute output of ``a``.

    The model runs in evaluation mode and in its own precision, and is left as it was.

    Args:
        model: that both are loaded into.
        example_inputs: what it is called with, as of `layer_order`.
        a: weights by name.
        b: the other ones.

    Returns:
        0 for the same bits, infinity where an output is not finite or the shapes differ.
    """
    inputs = Inputs.of(example_inputs)
    with _left_as_it_was(model):
        one, other = (_outputs(model, inputs, weights) for weights in (a, b))
    if [x.shape for x in one] != [y.shape for y in other]:
        return float("inf")
    gap = max((float((x - y).abs().max()) for x, y in zip(one, other, strict=True) if x.numel()), default=0.0)
    scale = max((float(x.abs().max()) for x in one if x.numel()), default=0.0)
    found = gap / scale if gap else 0.0
    return found if found == found else float("inf")


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Inputs, weights: Mapping[str, Tensor]) -> Sequence[Tensor]:
    """Every floating-point tensor of the result, in float64."""
    lend(model, weights)
    own = inputs.map(torch.clone)  # a model may write into what it is given
    return [t.double() for t in tensors_in(model(*own.args, **own.kwargs)) if t.is_floating_point()]


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; weights, buffers and training flags are put back."""
    data = [(p, p.data) for p in model.parameters()]
    kept, flags = clone(buffers(model)), [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for p, own in data:
            p.data = own
        assign(model, kept)
        for module, training in flags:
            module.training = training
