"""In what order data reaches the layers of any ``torch.nn.Module``.

A module becomes a ``torch.fx.Graph`` of its tensor operations (`trace`), a graph of layers (`fdf`), an order (`result`)
and its phases. `render` and `picture` show it; `scaling` asks the same trace which weights can be scaled.
"""

from llpf_plugin.order import picture, render
from llpf_plugin.order.derive import layer_order
from llpf_plugin.order.layers import owners
from llpf_plugin.order.patterns import matching, naming, select
from llpf_plugin.order.phases import cumulative, phases
from llpf_plugin.order.result import Layer, LayerOrder, Phase
from llpf_plugin.order.scaling import scale_free
from llpf_plugin.order.trace.inputs import Inputs

__all__ = [
    "Inputs",
    "Layer",
    "LayerOrder",
    "Phase",
    "cumulative",
    "layer_order",
    "matching",
    "naming",
    "owners",
    "phases",
    "picture",
    "render",
    "scale_free",
    "select",
]
