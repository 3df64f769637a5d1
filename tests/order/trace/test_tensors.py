"""Weights that share a storage, and tensors wherever a result has them."""

from collections import UserDict
from dataclasses import dataclass
from typing import Any

import torch
from helpers.orders import names
from torch import Tensor, nn

from llpf_plugin.order import layer_order
from llpf_plugin.order.trace.tensors import tensors_in


class Aliased(nn.Module):
    """A buffer that shows a part of a weight, and two weights cut from one storage."""

    def __init__(self) -> None:
        super().__init__()
        flat = torch.randn(32)
        self.second, self.first = nn.Parameter(flat[:16].view(4, 4)), nn.Parameter(flat[16:].view(4, 4))
        self.register_buffer("shown", self.second.data[:2])

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.first @ self.second.t() + self.shown.sum()


def test_weights_that_share_a_storage_are_told_apart() -> None:
    order = layer_order(Aliased(), torch.zeros(1, 4))
    assert names(order) == ["first", "second"] and not order.unused


@dataclass(slots=True)
class Slotted:
    value: Tensor
    rest: Any = None


class Plain:
    def __init__(self, value: Tensor) -> None:
        self.value = value


def test_tensors_are_found_in_containers_dataclasses_and_plain_objects() -> None:
    a, b, c, d, e = (torch.full((1,), float(i)) for i in range(5))
    result = {"a": a, "list": [b, (Slotted(c, UserDict(d=d)), None)], "object": Plain(e), "module": nn.Linear(2, 2)}
    assert [float(tensor) for tensor in tensors_in(result)] == [0, 1, 2, 3, 4]
    looped: list[Any] = [a]
    looped.append(looped)
    assert list(tensors_in(looped)) == [a]
