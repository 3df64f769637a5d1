"""The picture: every layer in its row, and no edge through a dot."""

import xml.etree.ElementTree as ElementTree

import torch
from helpers.orders import dla
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llpf_plugin.order import layer_order, phases, picture, render


def test_the_svg_is_well_formed_and_names_every_layer() -> None:
    root = ElementTree.fromstring(picture.svg(picture.draw(dla())))
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {render.label(layer) for layer in dla().layers} <= texts
    by_phase = picture.draw(dla(), phases(dla(), "stage"), level="phase")
    assert [row.cells[1] for row in by_phase.rows] == [phase.name for phase in phases(dla(), "stage")]


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
