"""The layer order as a value: layers, graph, JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import networkx as nx
from torch import fx

from llpf_plugin.documents import html_table, listed, quoted, validated
from llpf_plugin.errors import OrderError

FORMAT, VERSION = "llpf-order", 1


@dataclass(frozen=True)
class Layer:
    """One layer, in its place.

    Attributes:
        name: path in the module tree.
        type: class of the owning module; ``Parameter`` for one that a container holds directly.
        parameters: names as in ``model.named_parameters()``; every parameter of the model is in exactly one layer.
        attached: normalizations joined to this layer; their parameters are among ``parameters``.
        numel: number of elements of all its parameters.
        calls: in how many module calls it took part; 0 if the forward pass never used it.
        parallel: region and branch where it stands beside other layers (``"1.2"``: second branch of region 1), or None.
        after: the layers directly before it, without those that others already imply.
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
    """A slice of the layer order; in a schedule, phase k moves the layers of slices 1 to k.

    Attributes:
        name: of the module that holds exactly these layers, else first and last layer, else from a phase file.
        layers: names, in order.
    """

    name: str
    layers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LayerOrder:
    """In what order data reaches the layers of a model. Two orders are compared by their fingerprints.

    Attributes:
        model: class name of the model.
        layers: all layers, in order; those that the forward pass does not use stand last.
        dag: edges between layer names, including those that others imply.
        graph: the traced operations; None after `from_json`, and where the code could not be followed.
        unused: parameters that no operation read.
        back_edges: pairs (a, b) where a's result reaches a later call of b, which was first called before a.
        tracer: what gave the order: ``dispatch``, with ``+train`` or ``+autograd`` where another trace added layers;
            ``symbolic`` or ``registration`` without inputs.
        verified: whether every layer that is not unused was placed by a real forward pass.
        warnings: what was not understood, by name, and what was done about it.
        modules: class of every module on the way to a layer, by path; phases are found with it.
        order: ``fdf`` or ``levels``.
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
        """The layer of that name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any layer, parameter, place or edge; to pin in checkpoints."""
        content = [[layer.name, layer.parameters, layer.numel, layer.after] for layer in self.layers]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def _repr_html_(self) -> str:
        """What a notebook shows; `llpf_plugin.order.picture` draws it."""
        rows = [
            (str(i), layer.name, ", ".join(layer.attached), layer.type, f"{layer.numel:,}", ", ".join(layer.after))
            for i, layer in enumerate(self.layers, 1)
        ]
        header = ("", "layer", "with", "type", "parameters", "after")
        return html_table(header, rows, f"{self.model}: {len(rows)} layers in the order of the data")

    def to_json(self, phases: Sequence[Phase] = ()) -> str:
        """Everything but the traced operations as JSON, with the phases if any are given."""
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
            OrderError: the text is not such a document, or its fingerprint does not fit its content.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            found = document.get("format"), document.get("version")
            result = cls._from_document(document) if found == (FORMAT, VERSION) else None
        except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise OrderError(
                f"not a layer order: {type(error).__name__}: {str(error)[:200]}; write it with to_json()"
            ) from error
        if result is None:
            raise OrderError(
                f"not a layer order: expected format {FORMAT!r} version {VERSION}, found {quoted(found[0])} version "
                f"{quoted(found[1])}; write the file again with to_json()"
            )
        if result.fingerprint != document.get("fingerprint"):
            raise OrderError(
                f"the layer order was changed by hand: its fingerprint is {result.fingerprint}, the file says "
                f"{quoted(document.get('fingerprint'))}; derive it again, or write a phase file to choose phases"
            )
        return result

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> LayerOrder:
        found = validated(_Document, document)
        names = [layer.name for layer in found.layers]
        if len(set(names)) < len(names):
            raise ValueError("a layer is there twice")
        told = {name for edge in (*found.edges, *found.back_edges) for name in edge}
        told |= {name for layer in found.layers for name in layer.after}
        if odd := sorted(told - {*names}):
            raise ValueError(f"edges name layers that there are not: {listed(odd)}")
        dag = nx.DiGraph()
        dag.add_nodes_from(names)
        dag.add_edges_from(found.edges)
        if not nx.is_directed_acyclic_graph(dag):
            raise ValueError("its edges go in circles")
        values = {f.name: getattr(found, f.name) for f in fields(found) if f.name != "edges"}
        return cls(dag=dag, graph=None, **values)


@dataclass(frozen=True)
class _Document:
    """What `LayerOrder.to_json` writes."""

    model: str
    layers: tuple[Layer, ...]
    edges: tuple[tuple[str, str], ...]
    back_edges: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]
    tracer: str
    verified: bool
    warnings: tuple[str, ...]
    modules: dict[str, str]
    order: str
