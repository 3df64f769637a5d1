"""Parameters that take no part: what autograd, run in full, gives no gradient."""

import pytest
import torch
from torch import Tensor, nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order import layer_order, unused_parameters


class Odd(nn.Module):
    """A layer that is used, one that is never called, one whose result is thrown away, one of training mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.never, self.thrown, self.auxiliary = (nn.Linear(3, 3) for _ in range(4))
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self.thrown(x)
        y = self.norm(self.used(x))
        return (y, self.auxiliary(y)) if self.training else (y,)


def test_what_gets_no_gradient_is_named() -> None:
    model = Odd().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert unused_parameters(model, torch.randn(1, 3)) == ("never.weight", "never.bias", "thrown.weight", "thrown.bias")
    assert layer_order(model, torch.randn(1, 3)).unused == ("never.weight", "never.bias")
    after = model.state_dict()
    assert not model.training and all(torch.equal(after[name], before[name]) for name in before)
    model.train()
    sum(y.square().sum() for y in model(torch.randn(2, 3))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == [
        "never.weight", "never.bias", "thrown.weight", "thrown.bias",
    ]  # fmt: skip


def test_frozen_and_tied_parameters_take_part() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].requires_grad_(False)
    assert unused_parameters(model, torch.randn(1, 3)) == ()
    assert not model[0].weight.requires_grad


def test_a_model_that_runs_in_evaluation_mode_only() -> None:
    class Evaluated(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise RuntimeError("only for evaluation")
            return super().forward(x)

    assert unused_parameters(Evaluated(3, 2), torch.randn(1, 3)) == ()


def test_what_cannot_be_known_is_said() -> None:
    class Counted(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).argmax(1)

    with pytest.raises(OrderError, match="returns nothing that has a gradient"):
        unused_parameters(Counted(3, 2), torch.randn(1, 3))
    with pytest.raises(OrderError, match="Linear does not run on the example inputs"):
        unused_parameters(nn.Linear(3, 2), torch.randn(1, 4))
