"""Who hears whom in a gossip federation, and with which weights."""

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import networkx as nx

from llpf_plugin.errors import LLPFError

Topology: TypeAlias = "nx.Graph[int] | str"
"""A graph of networkx, or the name of one, such as ``ring`` or ``random-regular:4``."""

NAMED: Mapping[str, Callable[[int], "nx.Graph[int]"]] = {
    "ring": nx.cycle_graph,
    "star": lambda nodes: nx.star_graph(nodes - 1),
    "complete": nx.complete_graph,
}
"""Graphs that have no further number."""

REGULAR = "random-regular:"


def check_name(name: str) -> None:
    """Refuse before any work a name that no graph has.

    Raises:
        LLPFError: it is none of those that are known.
    """
    if name not in NAMED and not (name.startswith(REGULAR) and name.removeprefix(REGULAR).isdecimal()):
        known = ", ".join([*NAMED, f"{REGULAR}4"])
        raise LLPFError(f"topology = {name!r}: name one of {known} (each node hears 4), or give a networkx graph")


def graph_of(topology: Topology, nodes: int, seed: int = 0) -> "nx.Graph[int]":
    """The graph for so many clients.

    Args:
        topology: the graph itself, or its name.
        nodes: clients; the graph's nodes are 0 to ``nodes`` - 1.
        seed: of random graphs.

    Raises:
        LLPFError: there are fewer than two clients, the graph has directed edges, names other nodes or is not
            connected, or there is none of that name for so many clients.
    """
    if nodes < 2:
        raise LLPFError(f"a topology needs two clients at least, here is {nodes}: set min_available_nodes")
    if isinstance(topology, str):
        check_name(topology)
        graph = NAMED[topology](nodes) if topology in NAMED else _regular(topology, nodes, seed)
    else:
        graph = topology
    if graph.is_directed():
        raise LLPFError("the topology has directed edges: clients that hear each other need a networkx.Graph")
    if odd := sorted(map(str, set(graph) ^ set(range(nodes)))):
        raise LLPFError(
            f"the topology and the clients differ in {', '.join(odd[:5])}: for {nodes} clients its nodes are 0 to "
            f"{nodes - 1}. Give a graph of these nodes, or start as many clients as it has."
        )
    if not nx.is_connected(graph):
        parts = nx.number_connected_components(graph)
        raise LLPFError(f"the topology falls into {parts} parts that never hear of each other: add edges, or a seed")
    return graph


def _regular(name: str, nodes: int, seed: int) -> "nx.Graph[int]":
    """A random graph in which every node has as many neighbours as its name says."""
    degree = int(name.removeprefix(REGULAR))
    if degree >= nodes or degree * nodes % 2:
        raise LLPFError(
            f"topology = {name!r}: there is no such graph of {nodes} clients: the number of neighbours must be below "
            "that of clients, and one of the two even"
        )
    return nx.random_regular_graph(degree, nodes, seed)


def metropolis(graph: "nx.Graph[int]", present: Collection[int]) -> dict[int, dict[int, float]]:
    """What each node that is present takes of itself and of its neighbours that are.

    ``w_ij = 1 / (1 + max(d_i, d_j))`` with the degrees among those present, and the rest of itself (Xiao, Boyd and
    Lall, 2005). The weights are symmetric and those of a node add up to 1, so that averaging with them keeps the mean
    of all, whoever is absent.

    Args:
        graph: undirected; loops do not count.
        present: the nodes that have something to give.
    """
    seen = graph.subgraph(present)
    hears = {i: sorted(set(seen[i]) - {i}) for i in sorted(seen)}
    shares = {i: {j: 1 / (1 + max(len(others), len(hears[j]))) for j in others} for i, others in hears.items()}
    return {i: dict(sorted({**own, i: 1 - sum(own.values())}.items())) for i, own in shares.items()}
