"""Graphs of gossip federations: their names, what is refused, and the weights of averaging."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llpf_flower.topology import Topology, graph_of, metropolis
from llpf_plugin.errors import LLPFError


def test_metropolis_weights_worked_by_hand() -> None:
    # In a row of three the middle has two neighbours: each edge weighs 1/3.
    shares = metropolis(nx.path_graph(3), range(3))
    assert shares[0] == pytest.approx({0: 2 / 3, 1: 1 / 3}) and shares[1] == pytest.approx(
        {0: 1 / 3, 1: 1 / 3, 2: 1 / 3}
    )
    assert metropolis(nx.path_graph(3), [0, 2]) == {0: {0: 1.0}, 2: {2: 1.0}}


def test_a_loop_is_no_neighbour() -> None:
    graph = nx.path_graph(2)
    graph.add_edge(0, 0)
    assert metropolis(graph, [0, 1]) == {0: {0: 0.5, 1: 0.5}, 1: {0: 0.5, 1: 0.5}}


@given(st.integers(2, 12), st.integers(0, 99), st.data())
def test_law_averaging_keeps_the_mean_of_all_whoever_is_absent(nodes: int, seed: int, data: st.DataObject) -> None:
    graph = nx.gnp_random_graph(nodes, 0.4, seed)
    present = data.draw(st.sets(st.integers(0, nodes - 1)))
    matrix = np.eye(nodes)
    for i, shares in metropolis(graph, present).items():
        matrix[i] = [shares.get(j, 0.0) for j in range(nodes)]
    np.testing.assert_allclose(matrix.sum(0), 1)
    np.testing.assert_allclose(matrix, matrix.T)
    assert (matrix >= 0).all() and (matrix.diagonal() > 0).all()


def test_random_graphs_are_those_of_their_seed() -> None:
    first, again, other = (graph_of("random-regular:4", 16, seed) for seed in (0, 0, 1))
    assert nx.utils.graphs_equal(first, again) and not nx.utils.graphs_equal(first, other)
    assert {degree for _, degree in first.degree()} == {4}


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        ("torus", "topology = 'torus': name one of ring, star, complete, random-regular:4"),
        ("random-regular:", "topology = 'random-regular:'"),
        ("random-regular:3", "no such graph of 5 clients"),
        ("random-regular:6", "no such graph of 5 clients"),
        (nx.path_graph(4), r"differ in 4: for 5 clients its nodes are 0 to 4"),
        (nx.path_graph(7), r"differ in 5, 6:"),
        (nx.relabel_nodes(nx.path_graph(5), {0: "a"}), r"differ in 0, a:"),
        (nx.empty_graph(5), "falls into 5 parts"),
        (nx.DiGraph([(0, 1)]), "directed edges"),
    ],
)
def test_what_is_no_topology_of_the_clients_is_refused(topology: Topology, words: str) -> None:
    with pytest.raises(LLPFError, match=words):
        graph_of(topology, 5)


def test_nobody_gossips_alone() -> None:
    for name in ("ring", "star", "complete"):
        with pytest.raises(LLPFError, match="two clients at least"):
            graph_of(name, 1)
        assert set(graph_of(name, 2).edges) == {(0, 1)}
