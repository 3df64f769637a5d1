"""Without inputs: the code is read, and nothing is verified."""

from helpers.order_modules import Repeated, ValueDependent
from helpers.orders import names
from torch import nn

from llpf_plugin.order import layer_order


def test_without_inputs_the_code_is_read_and_nothing_is_verified() -> None:
    order = layer_order(Repeated())
    assert names(order) == ["first", "second", "unused"]
    assert order.tracer == "symbolic" and not order.verified and order.warnings


def test_without_inputs_what_cannot_be_followed_is_named() -> None:
    order = layer_order(nn.Sequential(ValueDependent(), nn.Linear(4, 4)))
    assert names(order) == ["0.b", "0.a", "1"] and "inside ValueDependent" in order.warnings[1]
    assert order["1"].after == ("0.a",)
    order = layer_order(ValueDependent())
    assert order.tracer == "registration" and names(order) == ["b", "a"] and "registration" in order.warnings[0]
