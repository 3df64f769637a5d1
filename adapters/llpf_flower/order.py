"""Which parameters change in a round: phases of the layer order, cumulative, on the server."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord
from torch import nn

from llpf_flower.arrays import is_buffer, view
from llpf_plugin.errors import LLPFError, OrderError
from llpf_plugin.order import LayerOrder, cumulative, layer_order
from llpf_plugin.order import phases as cut

OrderSource = LayerOrder | str | Path | tuple[Callable[[], nn.Module], Any]
"""A layer order, a JSON file that ``llpf order -o`` wrote, or a model factory with example inputs."""

Cut = int | str | Sequence[str | Sequence[str]]
"""How an order is cut: ``all``, ``layer``, ``block``, ``stage``, a number, a YAML file, or lists of patterns."""


class Phases(Mapping[str, frozenset[str]]):
    """What changes in each phase of a run, by name: in phase k the layers of slices 1 to k of the order.

    Args:
        source: of the layer order, None for a single phase in which everything changes.
        how: how the order is cut.
        rounds: rounds after which the next phase begins.

    Raises:
        LLPFError: phases without a layer order, or fewer than one round each.
        OrderError: the file cannot be read, or the order of the model cannot be derived.
    """

    def __init__(self, source: OrderSource | None, how: Cut = "all", rounds: int = 5) -> None:
        if rounds < 1:
            raise LLPFError(f"rounds_per_phase = {rounds}: it must be at least 1")
        if how != "all" and source is None:
            raise LLPFError("phases need a layer_order: a file of llpf order, or (model factory, example inputs)")
        self.rounds = rounds
        self._names: Mapping[str, frozenset[str]] = {}
        self.buffers: frozenset[str] = frozenset()
        if isinstance(source, tuple):  # the only source that tells buffers from parameters
            self.buffers = frozenset(name for name, _ in source[0]().named_buffers())
        if source is not None:
            order = read(source)
            self._names = cumulative(order, cut(order, how))

    def __getitem__(self, phase: str) -> frozenset[str]:
        return self._names[phase]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def of(self, number: int) -> tuple[str, frozenset[str] | None]:
        """Name of a round's phase, and what changes in it, None for everything; the last phase lasts to the end.

        Args:
            number: of the round, from 1.
        """
        index = min((number - 1) // self.rounds, len(self) - 1)
        name = list(self)[index]
        return name, None if index == len(self) - 1 else self[name]

    def fit(self, arrays: ArrayRecord) -> None:
        """Add what only the arrays have: further names of tied tensors change with the first one.

        Args:
            arrays: the initial ones.

        Raises:
            OrderError: the order belongs to another model: it has parameters that the arrays lack, or the reverse.
        """
        if not self:
            return
        last = list(self.values())[-1]
        known = last | self.buffers
        more = {k: a for k, a in arrays.items() if k not in known and not is_buffer(k, view(a))}
        twins = {k: next((t for t in last if t in arrays and arrays[t].data == a.data), None) for k, a in more.items()}
        odd = sorted(last - arrays.keys() - self.buffers) or sorted(k for k, twin in twins.items() if twin is None)
        if odd:
            raise OrderError(
                f"the layer order is that of another model than the initial arrays: {', '.join(odd[:5])} is not in "
                "both. Write the order again with llpf order, from the model that the clients train; if these are "
                "buffers, give layer_order=(model factory, example inputs), which tells them from parameters."
            )
        self._names = {
            phase: names | {k for k, twin in twins.items() if twin in names} | self.buffers
            for phase, names in self.items()
        }


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
