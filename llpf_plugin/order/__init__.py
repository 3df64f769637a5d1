"""In what order data reaches the layers of any ``torch.nn.Module``.

A module becomes a ``torch.fx.Graph`` of its tensor operations (`trace`), a graph of layers (`fdf`), an order (`result`)
and its phases. `render`, `picture` and `graph` show it; `scaling` asks the same trace which weights can be scaled,
`unused` which parameters take no part, and `decay` makes an optimizer's groups of it.
"""

from llpf_plugin.order import picture, render
from llpf_plugin.order.decay import param_groups
from llpf_plugin.order.derive import layer_order
from llpf_plugin.order.graph import annotated, graphml
from llpf_plugin.order.layers import owners
from llpf_plugin.order.patterns import matching, naming, select
from llpf_plugin.order.phases import cumulative, phases
from llpf_plugin.order.result import Layer, LayerOrder, Phase
from llpf_plugin.order.scaling import scale_free
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.order.unused import unused_parameters

__all__ = [
    "Inputs",
    "Layer",
    "LayerOrder",
    "Phase",
    "annotated",
    "cumulative",
    "graphml",
    "layer_order",
    "matching",
    "naming",
    "owners",
    "param_groups",
    "phases",
    "picture",
    "render",
    "scale_free",
    "select",
    "unused_parameters",
]
