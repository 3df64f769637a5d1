"""Any module becomes an order: known networks, wrappers, meta; bad input is named."""

from typing import Any

import pytest
import torch
from helpers.order_modules import Checkpointed
from helpers.orders import image, names, torchvision_model
from torch import nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order import layer_order, phases


@pytest.mark.parametrize(
    ("name", "layers", "blocks", "stages"),
    [
        ("vgg11", 11, 11, 11),
        ("mobilenet_v2", 53, 20, 20),
        ("mobilenet_v3_small", 54, 14, 14),
        ("densenet121", 122, 63, 9),
        ("efficientnet_b0", 82, 19, 10),
        ("regnet_x_400mf", 72, 24, 6),
    ],
)
def test_known_counts(name: str, layers: int, blocks: int, stages: int) -> None:
    # On meta nothing is computed, and the layers are the same. RegNet needs values to be built.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = torchvision_model(name)
    order = layer_order(model, image())
    counts = len(order.layers), len(phases(order, "block")), len(phases(order, "stage"))
    assert counts == (layers, blocks, stages)
    assert order.verified and not order.unused


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda model: model])
def test_wrappers_and_checkpointing_are_looked_through(wrap: Any) -> None:
    order = layer_order(wrap(Checkpointed()), torch.zeros(1, 4))
    assert names(order) == ["a", "b"] and order.model == "Checkpointed"


def test_meta_modules_are_ordered_without_memory() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(100_000, 100_000), nn.LayerNorm(100_000), nn.Linear(100_000, 10))
    order = layer_order(model, torch.zeros(1, 100_000))
    assert [(layer.name, layer.attached) for layer in order.layers] == [("0", ("1",)), ("2", ())]


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.ReLU(), torch.zeros(1), "ReLU has no parameters"),
        (nn.LazyLinear(3), torch.zeros(1, 2), "lazy parameters without a shape"),
        (nn.Linear(3, 3), torch.zeros(1, 2), r"Linear does not run .*float32\[1, 2\].*RuntimeError: .*mat1 and mat2"),
        (nn.Linear(3, 3), {"y": torch.zeros(1, 2)}, r"y: float32\[1, 2\].*TypeError"),
    ],
)
def test_bad_input_is_named(model: nn.Module, inputs: Any, message: str) -> None:
    with pytest.raises(OrderError, match=message):
        layer_order(model, inputs)
