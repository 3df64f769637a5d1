"""Learning rates that fall with a layer's distance from the output, for any model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order.derive import layer_order, unwrap
from llpf_plugin.order.phases import How, phases
from llpf_plugin.order.result import LayerOrder


def param_groups(
    model: nn.Module,
    lr: float,
    decay: float = 0.75,
    example_inputs: Any = None,
    *,
    weight_decay: float | None = None,
    depths: How = "block",
    order: LayerOrder | None = None,
) -> list[dict[str, Any]]:
    """Parameter groups of an optimizer with layer-wise learning-rate decay (ULMFiT, Howard and Ruder, 2018, and BEiT).

    The last of n depths learns at ``lr``, depth k of them (from 1) at ``lr · decay ** (n − k)``. Depths are the phases
    of the layer order, by default its repeated blocks, so that no list of names is needed. Tied parameters stand where
    the data reach them first; what no operation reads stands last; frozen parameters are left out.

    Args:
        model: whose parameters they are.
        lr: the learning rate of the last depth.
        decay: the factor from one depth to the one before it, in (0, 1].
        example_inputs: as of `layer_order`; without them the order is not verified.
        weight_decay: of matrices and filters; vectors and numbers (biases, scales) then get none. None: the groups name
            no weight decay.
        depths: how the order is cut, as of `phases`.
        order: a layer order of the model that is there already.

    Returns:
        From the first depth to the last, each with ``params``, ``param_names``, ``lr``, ``name`` (of its phase) and, if
        one was given, ``weight_decay``; a depth whose parameters have two weight decays gives two groups.

    Raises:
        OrderError: the decay is not in (0, 1], or the model has no such order.
    """
    if not 0 < decay <= 1:
        raise OrderError(f"a decay of {decay} does not lie in (0, 1]")
    model = unwrap(model)
    known = dict(model.named_parameters())
    found = layer_order(model, example_inputs) if order is None else order
    if odd := known.keys() ^ {name for layer in found.layers for name in layer.parameters}:
        raise OrderError(f"the order is not that of this {type(model).__name__}: only one of them has {min(odd)}")
    groups = []
    for distance, phase in enumerate(reversed(phases(found, depths))):
        names = [name for layer in phase.layers for name in found[layer].parameters if known[name].requires_grad]
        for own, more in _by_weight_decay(names, known, weight_decay):
            group = {"params": [known[name] for name in own], "lr": lr * decay**distance, "name": phase.name}
            groups.append({**group, "param_names": own, **more})
    return groups[::-1]


def _by_weight_decay(
    names: Sequence[str], known: Mapping[str, nn.Parameter], weight_decay: float | None
) -> Iterator[tuple[list[str], dict[str, float]]]:
    """The vectors and the others apart, each with its weight decay; all together if there is none. None is empty."""
    vectors = [name for name in names if known[name].dim() < 2 and weight_decay is not None]
    others = [name for name in names if name not in vectors]
    if vectors:
        yield vectors, {"weight_decay": 0.0}
    if others:
        yield others, {} if weight_decay is None else {"weight_decay": weight_decay}
