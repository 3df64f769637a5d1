"""What people look at: table, tree, Mermaid, DOT, pictures."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from helpers.order_networks import CCT, DLA
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llpf_plugin.order import LayerOrder, layer_order, phases, picture, render

IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.fixture(scope="module")
def dla() -> LayerOrder:
    return layer_order(DLA(width=4), IMAGE)


def test_the_table_has_one_line_per_layer(dla: LayerOrder) -> None:
    lines = render.table(dla).splitlines()
    row = next(line for line in lines if " layer4.level_1.root.conv " in line)
    assert lines[0].split() == list(render.HEADER)
    assert row.split() == ["18", "5", "layer4.level_1.root.conv", "+", "bn", "Conv2d", "2.1k", "2.3", "17"]
    assert len(lines) == 2 + 44 + 2 and dla.fingerprint in lines[-1]


def test_the_tree_shows_repeated_blocks_once_and_in_the_order_of_the_data() -> None:
    text = render.tree(layer_order(CCT(dim=16), IMAGE))
    assert text.count("pre_norm") == 1 and "0 … 6" in text and "EncoderLayer × 7" in text
    # Registered last but one, used before the blocks; linear layers with names of their own are never put together.
    places = [
        text.index(name) for name in ("positional_emb", "blocks", "norm1", "linear1", "linear2", "attention_pool")
    ]
    assert places == sorted(places)


def test_the_depth_of_the_tree_is_limited(dla: LayerOrder) -> None:
    names = [line[3:].partition("  ")[0] for line in render.tree(dla, depth=1).splitlines()[1:]]
    assert names == ["base … layer2", "layer3", "layer4 … layer5", "layer6", "linear"]


def test_mermaid_and_dot_show_reduced_edges(dla: LayerOrder) -> None:
    chart = render.mermaid(dla).splitlines()
    assert chart[0] == "flowchart TD" and '  P8["8. linear<br/>1 layer, 1.3k"]' in chart
    assert [line for line in chart if "-->" in line] == [f"  P{i} --> P{i + 1}" for i in range(1, 8)]
    reduced = sum(len(layer.after) for layer in dla.layers)
    assert render.mermaid(dla, level="layer").count("-->") == render.dot(dla, level="layer").count("->") == reduced
    assert render.dot(dla, level="layer").count("subgraph") == 8


def test_phases_given_by_hand_may_point_backwards(dla: LayerOrder) -> None:
    assert "-->" not in render.mermaid(dla, phases(dla, [["linear"], ["base", "rest"]]))


def test_json_holds_the_phases(dla: LayerOrder) -> None:
    document = json.loads(dla.to_json(phases(dla, "stage")))
    assert [phase["name"] for phase in document["phases"]][:3] == ["base.0", "layer1.0", "layer2.0"]


def test_the_svg_is_well_formed_and_names_every_layer(dla: LayerOrder) -> None:
    root = ElementTree.fromstring(picture.svg(picture.draw(dla)))
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {render.label(layer) for layer in dla.layers} <= texts
    by_phase = picture.draw(dla, phases(dla, "stage"), level="phase")
    assert [row.cells[1] for row in by_phase.rows] == [phase.name for phase in phases(dla, "stage")]


def test_branches_that_meet_before_others_begin_meet_in_a_row_of_their_own() -> None:
    def branches() -> nn.ModuleList:
        return nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = branches(), branches()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for part in (self.a, self.b):
                x = torch.stack([torch.tanh(branch(x)) for branch in part]).sum(0)
            return x

    drawing = picture.draw(layer_order(Branches(), torch.zeros(1, 4)))
    assert [row.cells[1] for row in drawing.rows] == ["a.0", "a.1", "a.2", "", "b.0", "b.1", "b.2"]
    assert drawing.edges == ((0, 3), (1, 3), (2, 3), (3, 4), (3, 5), (3, 6))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.integers(2, 15).flatmap(lambda n: st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=25))
)
def test_no_edge_runs_through_a_dot(pairs: list[tuple[int, int]]) -> None:
    edges = sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]})
    lanes = picture.lanes(15, edges)
    for start, end in edges:
        assert all(lanes[row] != lanes[start] for row in range(start + 1, end)), (start, end, lanes)
