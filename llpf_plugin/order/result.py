"""The layer order as a value: layers, graph, phases, JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import networkx as nx
from torch import fx

from llpf_plugin.errors import OrderError

FORMAT, VERSION = "llpf-order", 1


@dataclass(frozen=True)
class Layer:
    """One layer, in its place.

    Attributes:
        name: Path in the module tree.
        type: Class of the owning module; `Parameter` for one that a container holds directly.
        parameters: Names as in `model.named_parameters()`; every parameter of the model is in exactly one layer.
        attached: Normalizations joined to this layer; their parameters are among `parameters`.
        numel: Number of elements of all its parameters.
        calls: In how many module calls it took part; 0 if the forward pass never used it.
        parallel: Region and branch where it stands beside other layers (`"1.2"`: second branch of region 1), or None.
        after: The layers directly before it, without those that others already imply.
    """

    name: str
    type: str
    parameters: tuple[str, ...]
    attached: tuple[str, ...]
    numel: int
    calls: int
    parallel: str | None
    after: tuple[str, ...]


@dataclass(frozen=True)
class Phase:
    """A slice of the layer order; in a schedule, phase k moves the layers of slices 1 to k."""

    name: str
    layers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LayerOrder:
    """In which order data meet the layers of a model. Two orders are compared by their fingerprints.

    Attributes:
        model: Class name of the model.
        layers: All layers, in order; those that the forward pass does not use stand last.
        dag: Edges between layer names, with those that others imply.
        graph: The traced operations; None after `from_json`.
        unused: Parameters that no operation read.
        back_edges: Pairs (a, b) where a's result reaches a later call of b, which was first called before a.
        tracer: What gave the order: `dispatch`, with `+train` or `+autograd` where another trace added layers;
            `symbolic` or `registration` without inputs.
        verified: Whether every layer that is not unused was placed by a real forward pass.
        warnings: What was not understood, by name, and what was done about it.
        modules: Class of every module on the way to a layer, by path; phases are found with it.
        order: `fdf` or `levels`.
    """

    model: str
    layers: tuple[Layer, ...]
    dag: nx.DiGraph
    graph: fx.Graph | None
    unused: tuple[str, ...] = ()
    back_edges: tuple[tuple[str, str], ...] = ()
    tracer: str = "dispatch"
    verified: bool = True
    warnings: tuple[str, ...] = ()
    modules: dict[str, str] = field(default_factory=dict)
    order: str = "fdf"

    def __getitem__(self, name: str) -> Layer:
        """Return a layer by name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any layer, parameter, place or edge; to pin in checkpoints."""
        content = [[layer.name, layer.parameters, layer.numel, layer.after] for layer in self.layers]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def phases(
        self, mode: str | Sequence[str | Sequence[str]] = "stage", max_phases: int | None = None
    ) -> tuple[Phase, ...]:
        """Cut the order into phases.

        Args:
            mode: `all` is one phase, `layer` one per layer, `block` follows the innermost repeated blocks, `stage` the
                outermost. Or one list of patterns per phase (see `select`); together they must name each
                layer once, where the pattern `rest` stands for what no other phase names.
            max_phases: Merge neighbours until there are at most that many.

        Raises:
            OrderError: An unknown mode, or patterns that match nothing, twice, or not everything.
        """
        from llpf_plugin.order.phases import cut_phases

        return cut_phases(self, mode, max_phases)

    def to_json(self, phases: Sequence[Phase] = ()) -> str:
        """Write everything but the traced operations; phases are written along where given."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "order": self.order,
            "fingerprint": self.fingerprint,
            "tracer": self.tracer,
            "verified": self.verified,
            "layers": [asdict(layer) for layer in self.layers],
            "edges": [list(edge) for edge in self.dag.edges],
            "back_edges": [list(edge) for edge in self.back_edges],
            "unused": list(self.unused),
            "warnings": list(self.warnings),
            "modules": self.modules,
        }
        if phases:
            document["phases"] = [asdict(phase) for phase in phases]
        return json.dumps(document, indent=1)

    @classmethod
    def from_json(cls, text: str) -> LayerOrder:
        """Read what `to_json` wrote.

        Raises:
            OrderError: The text is not such a document, or its fingerprint does not fit its content.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document.get("format") != FORMAT or document.get("version") != VERSION:
                found = f"{document.get('format')!r} version {document.get('version')!r}"
                raise OrderError(
                    f"Not a layer order: expected format {FORMAT!r} version {VERSION}, found {found}. "
                    "Write the file again with to_json()."
                )
            layers = tuple(_layer(entry) for entry in document["layers"])
            dag = nx.DiGraph()
            dag.add_nodes_from(layer.name for layer in layers)
            dag.add_edges_from((a, b) for a, b in document["edges"])
            result = cls(
                model=document["model"],
                layers=layers,
                dag=dag,
                graph=None,
                unused=tuple(document["unused"]),
                back_edges=tuple((a, b) for a, b in document["back_edges"]),
                tracer=document["tracer"],
                verified=document["verified"],
                warnings=tuple(document["warnings"]),
                modules=document["modules"],
                order=document["order"],
            )
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, OrderError):
                raise
            raise OrderError(f"Not a layer order: {type(error).__name__}: {error}. Write it with to_json().") from error
        if result.fingerprint != document.get("fingerprint"):
            raise OrderError(
                f"The layer order was changed by hand: its fingerprint is {result.fingerprint}, the file says "
                f"{document.get('fingerprint')}. Derive it again; to choose phases, write a phase file instead."
            )
        return result


def _layer(entry: dict[str, Any]) -> Layer:
    layer = Layer(**entry)
    return replace(layer, parameters=tuple(layer.parameters), attached=tuple(layer.attached), after=tuple(layer.after))
