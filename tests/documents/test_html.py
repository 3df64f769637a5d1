"""What notebooks show: well-formed, escaped, and with the numbers in it."""

import math
from xml.etree import ElementTree

import torch
from helpers import tiny

from llpf_plugin import find_path
from llpf_plugin.documents import html_table, svg_curve
from llpf_plugin.order import layer_order, picture


def test_a_table_escapes_what_it_is_given() -> None:
    root = ElementTree.fromstring(html_table(("a", "<b>"), [("1 & 2", "x")], "of <i>"))
    assert [cell.text for cell in root.iter("th")] == ["a", "<b>"]
    assert [cell.text for cell in root.iter("td")] == ["1 & 2", "x"]
    assert root.findtext("caption") == "of <i>"


def test_a_curve_leaves_out_what_has_no_value_and_reaches_the_top() -> None:
    root = ElementTree.fromstring(svg_curve([0, 0.25, 0.5, 1], [1, math.nan, 2, math.inf], 1.5, "loss"))
    curve, level = (child for child in root if child.tag.endswith("polyline"))
    points = [tuple(map(float, pair.split(","))) for pair in curve.attrib["points"].split()]
    assert [x for x, _ in points] == [6, 240] and points[1][1] == 6
    assert "stroke-dasharray" in level.attrib
    ElementTree.fromstring(svg_curve([], []))
    ElementTree.fromstring(svg_curve([0, 1], [0, 0]))


def test_order_path_and_quality_show_themselves() -> None:
    task, (a, b) = tiny.mlp(), tiny.pair("mlp")
    order = layer_order(task.model, task.example_inputs())
    shown = order._repr_html_()
    assert all(layer.name in shown for layer in order.layers)
    assert picture.draw(order)._repr_svg_().startswith("<svg")
    path = find_path(a, b, task, "linear")
    assert path.quality._repr_html_() in path._repr_html_()
    assert f"{path.quality.maximum:.4g}" in path._repr_html_() and "not connected" in path._repr_html_()
    assert torch.isfinite(torch.tensor(path.quality.maximum))
