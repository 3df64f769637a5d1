"""Fallbacks: gradients, training mode, values that meta does not have; each is named."""

import torch
from helpers.order_modules import ForceField, ValueDependent
from helpers.orders import image, names, torchvision_model
from torch import Tensor, nn

from llpf_plugin.order import layer_order


def test_a_model_that_needs_gradients_runs_with_them() -> None:
    order = layer_order(ForceField(), torch.zeros(2, 3))
    assert names(order) == ["embed", "energy"] and "gradients enabled" in order.warnings[0]


def test_a_value_that_meta_does_not_have_is_guessed_and_said() -> None:
    order = layer_order(ValueDependent().to("meta"), torch.zeros(1, 4))
    assert names(order) == ["a", "b"] and not order.verified and "taken as 1" in order.warnings[0]


def test_auxiliary_heads_are_found_in_training_mode() -> None:
    order = layer_order(torchvision_model("googlenet", init_weights=False), image())
    found = names(order)
    places = [found.index(n) for n in ("inception4a.branch4.1.conv", "aux1.conv.conv", "inception4b.branch1.conv")]
    assert places == sorted(places)
    assert order.tracer == "dispatch+train"
    assert not order.unused


class Picky(nn.Module):
    """Runs only in evaluation mode, and leaves a layer out."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training or x.requires_grad:
            raise RuntimeError("not here")
        return self.used(x)


def test_a_fallback_that_failed_is_named() -> None:
    warnings = layer_order(Picky(), torch.zeros(1, 4)).warnings
    assert [warning.partition(",")[0] for warning in warnings[:2]] == [
        "a pass in training mode",
        "a pass with gradients",
    ]
    assert all("RuntimeError: not here" in warning for warning in warnings[:2]) and "spare.weight" in warnings[2]
