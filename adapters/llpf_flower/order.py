"""Which tensors are active in a round: phases of the layer order, cumulative, on the server."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order import LayerOrder, layer_order, read_phases

OrderSource = LayerOrder | str | Path | tuple[Callable[[], nn.Module], Any]
"""A layer order, a JSON file that ``llpf-order -o`` wrote, or a model factory with example inputs."""


def read(source: OrderSource) -> LayerOrder:
    """The layer order.

    Raises:
        OrderError: the file cannot be read, or the order of the model cannot be derived.
    """
    if isinstance(source, LayerOrder):
        return source
    if isinstance(source, tuple):
        factory, inputs = source
        return layer_order(factory(), inputs)
    try:
        return LayerOrder.from_json(Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise OrderError(f"cannot read the layer order {source}: {error.strerror}") from error


def slices(order: LayerOrder, phases: str | Sequence[str | Sequence[str]]) -> dict[str, frozenset[str]]:
    """Parameters by phase, cumulative: phase k moves the layers of slices 1 to k.

    Args:
        order: the layer order.
        phases: ``all``, ``layer``, ``block``, ``stage``, a number, a YAML file, or lists of patterns.
    """
    mode: Any = phases
    if isinstance(phases, str) and phases.isdigit():
        cut = order.phases("layer", int(phases))
    elif isinstance(phases, str) and Path(phases).is_file():
        cut = read_phases(order, phases)
    else:
        cut = order.phases(mode)
    active: frozenset[str] = frozenset()
    result: dict[str, frozenset[str]] = {}
    for phase in cut:
        active |= {name for layer in phase.layers for name in order[layer].parameters}
        result[phase.name] = active
    return result


def check(phases: Mapping[str, Collection[str]], names: Collection[str], parameters: Collection[str]) -> None:
    """Refuse the order of another model.

    Args:
        phases: cumulative; the last one names every parameter.
        names: of all arrays of the global model.
        parameters: those of them that are no buffers.

    Raises:
        OrderError: parameters that one has and the other has not.
    """
    known = set(list(phases.values())[-1])
    odd = sorted(known - set(names)) or sorted(set(parameters) - known)
    if odd:
        raise OrderError(
            f"the layer order is of another model than the initial arrays: {', '.join(odd[:5])} is not in both. "
            "Write the order again with llpf-order, from the model that the clients train."
        )
