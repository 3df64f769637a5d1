"""The layer order of any module: `torch.nn.Module` to `torch.fx.Graph` to layers to a networkx graph to an order."""

from llpf_plugin.order import picture, render
from llpf_plugin.order.derive import layer_order
from llpf_plugin.order.patterns import select
from llpf_plugin.order.phases import read_phases
from llpf_plugin.order.result import Layer, LayerOrder, Phase

__all__ = ["Layer", "LayerOrder", "Phase", "layer_order", "picture", "read_phases", "render", "select"]
