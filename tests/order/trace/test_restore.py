"""A module is left as it was, whatever its forward pass does."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order import layer_order


class Stateful(nn.Module):
    """Changes everything that a forward pass can change, then fails if told to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout()
        self.register_buffer("count", torch.zeros(1))
        self.history: list[int] = []
        self.cache: torch.Tensor | None = None
        self.fail = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        self.count = self.count + 1
        self.history.append(1)
        self.linear.weight.mul_(0.5)
        self.linear.bias.data = torch.ones(4)
        x.add_(1)
        random.random()
        np.random.rand()
        self.cache = self.dropout(self.norm(self.linear(x)))
        self.register_forward_hook(print)
        self.train(not self.training)
        if self.fail:
            raise RuntimeError("as told")
        return self.cache


@pytest.mark.parametrize("fail", [False, True])
def test_a_module_is_left_as_it_was(fail: bool) -> None:
    torch.manual_seed(0)
    model = Stateful()
    model.fail = fail
    model.norm.eval()
    x = torch.randn(8, 4)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    given, states = x.clone(), (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    if fail:
        with pytest.raises(OrderError, match=r"Stateful does not run .*float32\[8, 4\].*RuntimeError: as told"):
            layer_order(model, x)
    else:
        assert [layer.name for layer in layer_order(model, x).layers] == ["linear"]
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert all(after[name] is tensor for name, tensor in tensors.items())
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert torch.equal(x, given) and model.history == [] and model.cache is None and not model._forward_hooks
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
