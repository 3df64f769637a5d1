"""The quality of a path: the dense evaluation with its verdict, and every metric of the field under its own name.

What follows from the dense evaluation is always there (`Quality.metrics`). What costs further evaluations is asked for:
`saddle`, `calibrated_barrier`, `layer_barriers`, `diversity`, `sharpness`, `relative_flatness`, `loss_plane`.
"""

from llpf_plugin.quality.beside import beside_ends
from llpf_plugin.quality.calibration import Calibrated, calibrate, calibrated_barrier, calibrated_losses
from llpf_plugin.quality.diversity import Diversity, diversity
from llpf_plugin.quality.flatness import relative_flatness
from llpf_plugin.quality.layers import LayerTrace, trace_layers
from llpf_plugin.quality.layerwise import LayerBarrier, layer_barriers
from llpf_plugin.quality.legs import LegSummary, leg_summaries
from llpf_plugin.quality.measuring import judge, measure
from llpf_plugin.quality.metrics import DEFINITIONS, GEOMETRY, Definition, Metric
from llpf_plugin.quality.origin import OriginQuality
from llpf_plugin.quality.plane import LossPlane, loss_plane
from llpf_plugin.quality.saddle import saddle
from llpf_plugin.quality.sharpness import Sharpness, sharpness
from llpf_plugin.quality.verdict import INNER, METRIC_SPLITS, TEST_SLACK, Criterion, Picked, Quality, check_pick

__all__ = [
    "DEFINITIONS",
    "GEOMETRY",
    "INNER",
    "METRIC_SPLITS",
    "TEST_SLACK",
    "Calibrated",
    "Criterion",
    "Definition",
    "Diversity",
    "LayerBarrier",
    "LayerTrace",
    "LegSummary",
    "LossPlane",
    "Metric",
    "OriginQuality",
    "Picked",
    "Quality",
    "Sharpness",
    "beside_ends",
    "calibrate",
    "calibrated_barrier",
    "calibrated_losses",
    "check_pick",
    "diversity",
    "judge",
    "layer_barriers",
    "leg_summaries",
    "loss_plane",
    "measure",
    "relative_flatness",
    "saddle",
    "sharpness",
    "trace_layers",
]
