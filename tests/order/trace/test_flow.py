"""From operations to layers: what is used again, tied, or never."""

import torch
from helpers.order_modules import Repeated, Tied
from helpers.orders import names

from llpf_plugin.order import layer_order, phases


def test_tied_weights_stand_at_their_first_use() -> None:
    order = layer_order(Tied(), {"ids": torch.zeros(2, 3, dtype=torch.long)})
    assert names(order) == ["head", "body"]
    assert order["head"].calls == 2
    assert order.back_edges == (("body", "head"),)


def test_a_repeated_module_is_counted_and_stands_once() -> None:
    order = layer_order(Repeated(), torch.zeros(1, 4))
    assert names(order) == ["first", "second", "unused"]
    assert [layer.calls for layer in order.layers] == [3, 3, 0]
    assert order.unused == ("unused.weight", "unused.bias") and "unused.weight" in order.warnings[-1]
    assert phases(order, "layer")[-1].layers == ("second", "unused")
