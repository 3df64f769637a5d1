"""What the autograd graph adds: what other threads computed."""

import torch
from helpers.order_modules import Threaded
from helpers.orders import names

from llpf_plugin.order import layer_order


def test_what_another_thread_ran_is_placed_by_autograd() -> None:
    order = layer_order(Threaded(), torch.zeros(1, 4))
    assert names(order) == ["first", "hidden", "last"]
    assert order.tracer == "dispatch+autograd" and not order.unused
    assert order["hidden"].after == ("first",) and order["last"].after == ("hidden",)
    assert "no recorded operation made (another thread, a global) reached last:" in order.warnings[1]
