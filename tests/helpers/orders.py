"""Orders that many tests look at, each derived once: ResNet-18, and the paper's CCT and DLA at small width."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from llpf_plugin.order import LayerOrder, layer_order
from llpf_plugin.tasks.networks.cct import CCT
from llpf_plugin.tasks.networks.dla import DLA

IMAGE = torch.zeros(1, 3, 32, 32)


def image(side: int = 64) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def torchvision_model(name: str, **arguments: bool) -> nn.Module:
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    return models.get_model(name, weights=None, **arguments)


@cache
def resnet18() -> tuple[nn.Module, LayerOrder]:
    model = torchvision_model("resnet18")
    return model, layer_order(model, image())


@cache
def cct() -> LayerOrder:
    return layer_order(CCT(dim=16), IMAGE)


@cache
def dla() -> LayerOrder:
    return layer_order(DLA(width=4), IMAGE)


def names(order: LayerOrder) -> list[str]:
    return [layer.name for layer in order.layers]
