"""The loss of one point and along a path, with re-estimated running statistics; the goal of a search; REPAIR."""

from typing import TYPE_CHECKING

from llpf_plugin.evaluation.along_path import LINE_SAMPLE, losses_on_line, measure_segment
from llpf_plugin.evaluation.answers import Score
from llpf_plugin.evaluation.ends import batch_loss, measure_ends
from llpf_plugin.evaluation.goal import Ends, Goal, goal_of
from llpf_plugin.evaluation.outputs import difference_of_outputs
from llpf_plugin.evaluation.point import borrowed, evaluate, measure_point, reestimate, score, train_loss
from llpf_plugin.evaluation.running import Reestimated, reestimated, statistics_of
from llpf_plugin.lazy import lazily

if TYPE_CHECKING:
    from llpf_plugin.evaluation.activations import Repaired, Spread, repair_activations, spread_of

__all__ = [
    "LINE_SAMPLE",
    "Ends",
    "Goal",
    "Reestimated",
    "Repaired",
    "Score",
    "Spread",
    "batch_loss",
    "borrowed",
    "difference_of_outputs",
    "evaluate",
    "goal_of",
    "losses_on_line",
    "measure_ends",
    "measure_point",
    "measure_segment",
    "reestimate",
    "reestimated",
    "repair_activations",
    "score",
    "spread_of",
    "statistics_of",
    "train_loss",
]

# When they are asked for: REPAIR stands on preflight, which stands on the points that are measured here.
_ACTIVATIONS = ("Repaired", "Spread", "repair_activations", "spread_of")
__getattr__ = lazily("llpf_plugin.evaluation", dict.fromkeys(_ACTIVATIONS, "activations"))
