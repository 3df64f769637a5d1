"""Which parameters take no part in what a model returns: the question of DistributedDataParallel."""

from __future__ import annotations

from typing import Any

from torch import nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order.derive import unwrap
from llpf_plugin.order.trace.forward import autograd, doubled
from llpf_plugin.order.trace.inputs import Inputs


def unused_parameters(model: nn.Module, example_inputs: Any) -> tuple[str, ...]:
    """Names of the parameters that no result of the model depends on: with any loss, they get no gradient.

    ``DistributedDataParallel`` waits for the gradient of every parameter, and fails on a model that has such ones
    unless it is told of them (``find_unused_parameters=True``). A parameter whose result is thrown away is one of them;
    those of `LayerOrder.unused` are not even read. The model runs once in training mode (in evaluation mode if it does
    not run otherwise), and is left as it was; frozen parameters count as if they were not.

    Args:
        model: any module that runs.
        example_inputs: as of `layer_order`.

    Raises:
        OrderError: the model does not run on the inputs, or returns nothing that has a gradient.
    """
    model, inputs = unwrap(model), Inputs.of(example_inputs)
    first_error: Exception | None = None
    for given, training in ((inputs.map(doubled), True), (inputs, True), (inputs, False)):
        try:
            graph = autograd(model, given, training=training)
            break
        except Exception as error:
            first_error = first_error or error
    else:
        raise OrderError(f"{type(model).__name__} does not run on the example inputs ({inputs}): {first_error}")
    reached = {node.meta["parameter"] for node in graph.nodes if "parameter" in node.meta}
    if not reached:
        raise OrderError(f"{type(model).__name__} returns nothing that has a gradient: what takes part is not known")
    return tuple(name for name, _ in model.named_parameters() if name not in reached)
