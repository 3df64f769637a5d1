"""The layer graph and its orders: chains, parallel regions, generations."""

import networkx as nx
import pytest
import torch
from helpers.orders import cct, dla, names, resnet18
from torch import Tensor, nn

from llpf_plugin.order import layer_order, phases


def test_cct7_is_a_chain_in_the_order_of_execution() -> None:
    names = [layer.name for layer in cct().layers]
    block = ["self_attn.qkv", "self_attn.proj", "norm1", "linear1", "linear2"]
    blocks = [f"classifier.blocks.{i}.{name}" for i in range(7) for name in block]
    pooling = [f"classifier.{name}" for name in ("norm", "attention_pool", "fc")]
    assert names == ["tokenizer.conv_layers.0.0", "classifier.positional_emb", *blocks, *pooling]
    assert cct()["classifier.blocks.3.self_attn.qkv"].attached == ("classifier.blocks.3.pre_norm",)
    assert all(layer.after == (previous,) for layer, previous in zip(cct().layers[1:], names, strict=False))
    assert not any(layer.parallel for layer in cct().layers)
    assert len(phases(cct(), "block")) == len(phases(cct(), "stage")) == 10


def test_dla_has_six_parallel_regions() -> None:
    regions = {part.split(".")[0] for layer in dla().layers if layer.parallel for part in layer.parallel.split("/")}
    assert len(dla().layers) == 44 and len(regions) == 6
    assert len(list(nx.topological_generations(dla().dag))) == 34
    assert (len(phases(dla(), "block")), len(phases(dla(), "stage"))) == (24, 8)
    assert [phase.name for phase in phases(dla(), "stage")][-3:] == ["layer5", "layer6", "linear"]
    assert dla()["layer4.root.conv"].after[-1] == "layer4.right_node.conv2"


def test_resnet18_has_three_parallel_regions_each_a_downsample() -> None:
    order = resnet18()[1]
    second = [layer.name for layer in order.layers if layer.parallel and layer.parallel.endswith(".2")]
    assert second == [f"layer{i}.0.downsample.0" for i in (2, 3, 4)]
    assert len(order.layers) == 21
    assert order["layer2.1.conv1"].after == ("layer2.0.conv2", "layer2.0.downsample.0")


def test_transformer_runs_encoder_then_decoder() -> None:
    model = nn.Transformer(8, 2, 2, 2, 16, batch_first=True)
    order = layer_order(model, (torch.zeros(1, 3, 8), torch.zeros(1, 4, 8)))
    first = names(order).index
    assert first("encoder.layers.1.linear2") < first("decoder.layers.0.self_attn.in_proj")
    assert order["decoder.layers.0.multihead_attn.out_proj"].type == "NonDynamicallyQuantizableLinear"
    assert order["encoder.layers.0.self_attn.in_proj"].type == "MultiheadAttention.in_proj"
    # Self-attention of the decoder needs nothing of the encoder: they are parallel.
    assert order["decoder.layers.0.self_attn.in_proj"].after == () and not order.unused


def test_levels_put_what_no_data_feed_first() -> None:
    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.side = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) + self.side(torch.ones(4))

    assert names(layer_order(Side(), torch.zeros(4))) == ["a", "b", "side"]
    assert names(layer_order(Side(), torch.zeros(4), order="levels")) == ["a", "side", "b"]


class Resized(nn.Module):
    """Positions that are resized to the input, as vision transformers do it, and a class token."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode, self.positions = mode, nn.Parameter(torch.zeros(1, 3, 4, 4))
        self.patches, self.token = nn.Conv2d(1, 3, 2, 2), nn.Parameter(torch.zeros(1, 3, 8, 1))
        self.head = nn.Linear(9, 2)

    def forward(self, image: Tensor) -> Tensor:
        positions = nn.functional.interpolate(self.positions, size=(8, 9), mode=self.mode)
        tokens = torch.cat([self.token.expand(len(image), -1, -1, -1), self.patches(image)], 3)
        joined: Tensor = self.head(tokens + positions)
        return joined


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_resizing_a_weight_does_not_compute_with_it(mode: str) -> None:
    model, image = Resized(mode), torch.zeros(1, 1, 16, 16)
    assert names(layer_order(model, image)) == ["patches", "token", "positions", "head"]
