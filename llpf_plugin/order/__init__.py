"""The layer order of any module: `torch.nn.Module` to `torch.fx.Graph` to layers to a networkx graph to an order."""

from llpf_plugin.order import picture, render
from llpf_plugin.order.derive import layer_order
from llpf_plugin.order.layers import owners
from llpf_plugin.order.patterns import select
from llpf_plugin.order.phases import named_phases, read_phases
from llpf_plugin.order.result import Layer, LayerOrder, Phase
from llpf_plugin.order.scaling import scale_free

__all__ = [
    "Layer",
    "LayerOrder",
    "Phase",
    "layer_order",
    "named_phases",
    "owners",
    "picture",
    "read_phases",
    "render",
    "scale_free",
    "select",
]
