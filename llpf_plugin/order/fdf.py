"""The layer graph and its orders: Follow Data Flow, generations, parallel regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

import networkx as nx

from llpf_plugin.order.layers import Owner


def layer_graph(order: Sequence[str], edges: Iterable[tuple[str, str]]) -> tuple[nx.DiGraph, list[tuple[str, str]]]:
    """Build the graph of layers, acyclic by construction.

    A module that is called again stands at its first use: an edge is kept if it points to a later first use. The others
    are the back edges.

    Args:
        order: layers in the order of first use.
        edges: pairs of layers (a, b), where data flows from a to b.

    Returns:
        The graph, its nodes in the given order, and the back edges, sorted.
    """
    position = {name: i for i, name in enumerate(order)}
    dag = nx.DiGraph()
    dag.add_nodes_from(order)
    back = []
    for a, b in sorted(edges, key=lambda edge: (position[edge[0]], position[edge[1]])):
        if position[a] < position[b]:
            dag.add_edge(a, b)
        else:
            back.append((a, b))
    return dag, back


def join_norms(dag: nx.DiGraph, layers: Mapping[str, Owner]) -> dict[str, str]:
    """Join each normalization to the layer that feeds it, else to the one it feeds.

    It joins its sole direct predecessor if the norm's parent module contains it; else its sole successor, under the
    same condition; else it stands alone. All contractions are along a sole edge in or out, so the graph stays
    acyclic. Decided on the graph with all its edges: in a reduced one a skip connection would not be seen.

    Returns:
        For each layer, the layer that it is part of (itself, if it stands alone).
    """
    leader = {name: name for name in dag}
    for name in dag:
        feeding = list(dag.predecessors(name))
        if layers[name].is_norm and len(feeding) == 1 and _beside(feeding[0], name):
            head = leader[feeding[0]]
            if not layers[head].is_norm and layers[head].type != "Parameter":
                leader[name] = head
    for name in reversed(list(dag)):
        fed = list(dag.successors(name))
        if layers[name].is_norm and leader[name] == name and len(fed) == 1 and _beside(fed[0], name):
            leader[name] = leader[fed[0]]
    return leader


def _beside(other: str, norm: str) -> bool:
    """Whether the norm's parent module contains the other layer."""
    parent = norm.rpartition(".")[0]
    return not parent or other.startswith(f"{parent}.")


def contract(dag: nx.DiGraph, leader: Mapping[str, str]) -> nx.DiGraph:
    """The graph with every layer contracted into its leader; nodes keep their order."""
    joined = nx.DiGraph()
    joined.add_nodes_from(name for name in dag if leader[name] == name)
    joined.add_edges_from((leader[a], leader[b]) for a, b in dag.edges if leader[a] != leader[b])
    return joined


def fdf_order(dag: nx.DiGraph) -> list[str]:
    """Layers in the order in which data reaches them.

    Nodes of ``dag`` stand in the order of first use. The result satisfies both rules of Follow Data Flow (FDF; the LLPF
    paper, arXiv 2505.02604): shallow to deep, and parallel layers one by one, all before anything downstream of them.
    """
    position = {name: i for i, name in enumerate(dag)}
    return list(nx.lexicographical_topological_sort(dag, key=position.__getitem__))


def levels_order(dag: nx.DiGraph) -> list[str]:
    """Layers by their distance from the input; side branches that no data feeds come first."""
    position = {name: i for i, name in enumerate(dag)}
    return [name for level in nx.topological_generations(dag) for name in sorted(level, key=position.__getitem__)]


class Closure:
    """Ancestors and descendants of every node of an acyclic graph, as bit sets over positions.

    Args:
        dag: the graph.
        order: a topological order of it.
    """

    def __init__(self, dag: nx.DiGraph, order: Sequence[str]) -> None:
        self.order = tuple(order)
        self.position = {name: i for i, name in enumerate(self.order)}
        self.before = [0] * len(self.order)
        self.after = [0] * len(self.order)
        for i, name in enumerate(self.order):
            for other in dag.predecessors(name):
                j = self.position[other]
                self.before[i] |= self.before[j] | 1 << j
        for i, name in reversed(list(enumerate(self.order))):
            for other in dag.successors(name):
                j = self.position[other]
                self.after[i] |= self.after[j] | 1 << j

    def precedes(self, a: str, b: str) -> bool:
        """Whether data flows from layer a to layer b."""
        return bool(self.before[self.position[b]] >> self.position[a] & 1)

    def reduced_predecessors(self, dag: nx.DiGraph) -> dict[str, tuple[str, ...]]:
        """The predecessors of each node in the transitive reduction, in order."""
        reduced = {}
        for name in self.order:
            kept, covered = [], 0
            for i in sorted((self.position[other] for other in dag.predecessors(name)), reverse=True):
                if not covered >> i & 1:
                    kept.append(i)
                covered |= self.before[i] | 1 << i
            reduced[name] = tuple(self.order[i] for i in reversed(kept))
        return reduced

    def parallel_labels(self) -> dict[str, str]:
        """Labels for the layers of parallel regions, by series-parallel decomposition.

        Components of the comparability graph are parallel branches; components of its complement stand in series. A
        region that is neither falls back to generations within itself.

        Returns:
            By layer: ``"2.1"`` is the first branch of region 2, ``"2.1/3.2"`` a region nested in it, ``"4~0"`` the
            first generation of region 4, which is not series-parallel. Layers outside all regions are missing.
        """
        labels: dict[str, str] = {}
        numbers = count(1)
        stack = [((1 << len(self.order)) - 1, "")]
        while stack:
            nodes, label = stack.pop()
            members = _bits(nodes)
            if len(members) == 1:
                if label:
                    labels[self.order[members[0]]] = label
                continue
            inside = f"{label}/" if label else ""
            if len(branches := self._components(nodes, complement=False)) > 1:
                region = next(numbers)
                parts = [(branch, f"{inside}{region}.{i}") for i, branch in enumerate(branches, 1)]
            elif len(factors := self._components(nodes, complement=True)) > 1:
                parts = [(factor, label) for factor in factors]
            else:
                region = next(numbers)
                labels.update({self.order[i]: f"{inside}{region}~{level}" for i, level in self._levels(members)})
                continue
            stack.extend(reversed(parts))
        return labels

    def _components(self, nodes: int, *, complement: bool) -> list[int]:
        """Split ``nodes`` into the components of the comparability graph, or of its complement, by first member."""
        components, unseen = [], nodes
        while unseen:
            frontier = component = unseen & -unseen
            unseen ^= frontier
            while frontier:
                i = frontier.bit_length() - 1
                comparable = self.before[i] | self.after[i]
                found = unseen & (~comparable if complement else comparable)
                component |= found
                unseen &= ~found
                frontier = frontier ^ (1 << i) | found
            components.append(component)
        return components

    def _levels(self, members: Sequence[int]) -> list[tuple[int, int]]:
        level: dict[int, int] = {}
        for i in members:
            level[i] = max((level[j] + 1 for j in level if self.before[i] >> j & 1), default=0)
        return list(level.items())


def _bits(mask: int) -> list[int]:
    positions = []
    while mask:
        low = mask & -mask
        positions.append(low.bit_length() - 1)
        mask ^= low
    return positions
