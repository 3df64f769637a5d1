"""The layer graph for other programs: a networkx graph with all that is known of each layer, and GraphML."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from llpf_plugin.order.phases import phases as cut
from llpf_plugin.order.result import LayerOrder, Phase


def annotated(order: LayerOrder, phases: Sequence[Phase] | None = None) -> nx.DiGraph:
    """A graph of the layers, in order; edges that others imply are left out.

    Each node has ``place`` (from 1), ``type``, ``phase`` (its name), ``parameters`` (names, with spaces between them),
    ``numel``, ``calls``, ``attached``, and ``parallel`` (empty where there is none): text and numbers, as every format
    takes them.

    Args:
        order: the layer order.
        phases: of it, as `phases` cuts them; by default its stages.
    """
    phase = {name: p.name for p in (cut(order) if phases is None else phases) for name in p.layers}
    graph = nx.DiGraph(model=order.model, order=order.order, fingerprint=order.fingerprint)
    for place, layer in enumerate(order.layers, 1):
        graph.add_node(
            layer.name, place=place, type=layer.type, phase=phase.get(layer.name, ""),
            parameters=" ".join(layer.parameters), numel=layer.numel, calls=layer.calls,
            attached=" ".join(layer.attached), parallel=layer.parallel or "",
        )  # fmt: skip
    graph.add_edges_from((before, layer.name) for layer in order.layers for before in layer.after)
    return graph


def graphml(order: LayerOrder, phases: Sequence[Phase] | None = None) -> str:
    """The `annotated` graph as GraphML, which Gephi, yEd and ``networkx.read_graphml`` read."""
    return "\n".join(nx.generate_graphml(annotated(order, phases), named_key_ids=True))
