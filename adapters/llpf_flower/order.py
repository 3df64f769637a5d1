"""Which tensors are active in a round: phases of the layer order, cumulative, on the server."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord
from torch import nn

from llpf_flower.arrays import is_buffer, view
from llpf_plugin.errors import OrderError
from llpf_plugin.order import LayerOrder, cumulative, layer_order
from llpf_plugin.order import phases as cut

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


def slices(order: LayerOrder, phases: int | str | Sequence[str | Sequence[str]]) -> dict[str, frozenset[str]]:
    """Parameters by phase, cumulative: phase k moves the layers of slices 1 to k.

    Args:
        order: the layer order.
        phases: ``all``, ``layer``, ``block``, ``stage``, a number, a YAML file, or lists of patterns.
    """
    return cumulative(order, cut(order, phases))


def buffers(source: OrderSource | None) -> frozenset[str]:
    """Names of buffers, as far as the source of the order tells: a model factory does."""
    return frozenset(name for name, _ in source[0]().named_buffers()) if isinstance(source, tuple) else frozenset()


def fitted(
    phases: Mapping[str, frozenset[str]], arrays: ArrayRecord, known_buffers: Collection[str]
) -> dict[str, frozenset[str]]:
    """The phases with what only the arrays have: further names of tied tensors move with the first one.

    Args:
        phases: cumulative; the last one names every parameter of the order.
        arrays: the initial ones.
        known_buffers: names that are no parameters, beside those that `is_buffer` tells.

    Raises:
        OrderError: the order is of another model: it has parameters that the arrays have not, or the other way round.
    """
    last = list(phases.values())[-1]
    more = {k: a for k, a in arrays.items() if not is_buffer(k, view(a)) and k not in last and k not in known_buffers}
    twins = {k: next((t for t in last if t in arrays and arrays[t].data == a.data), None) for k, a in more.items()}
    odd = sorted(last - arrays.keys()) or sorted(k for k, twin in twins.items() if twin is None)
    if odd:
        raise OrderError(
            f"the layer order is of another model than the initial arrays: {', '.join(odd[:5])} is not in both. "
            "Write the order again with llpf-order, from the model that the clients train; if these are buffers, give "
            "layer_order=(model factory, example inputs), which tells them from parameters."
        )
    return {
        phase: names | {k for k, twin in twins.items() if twin in names} | set(known_buffers)
        for phase, names in phases.items()
    }
