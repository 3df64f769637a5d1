"""An order as JSON: the same back, or refused."""

import json

import pytest
from helpers.orders import dla, resnet18

from llpf_plugin.errors import OrderError
from llpf_plugin.order import LayerOrder, phases


def test_json_gives_the_same_order_back() -> None:
    order = resnet18()[1]
    again = LayerOrder.from_json(order.to_json())
    assert again.layers == order.layers and again.fingerprint == order.fingerprint
    assert phases(again, "block") == phases(order, "block")
    assert list(again.dag.edges) == list(order.dag.edges)


def test_json_changed_by_hand_is_refused() -> None:
    text = resnet18()[1].to_json().replace('"numel": 9536', '"numel": 9537')
    with pytest.raises(OrderError, match="changed by hand"):
        LayerOrder.from_json(text)


def test_json_holds_the_phases() -> None:
    document = json.loads(dla().to_json(phases(dla(), "stage")))
    assert [phase["name"] for phase in document["phases"]][:3] == ["base.0", "layer1.0", "layer2.0"]
