"""Before any work: do two sets of weights fit each other and the model, and are they worth connecting?

Pure functions on weights, and two looks at what the model does with the task's data. What is found is a value with a
level, so that a caller can show all of it at once.
"""

from llpf_plugin.preflight.advice import CLOSE, PairCheck, check
from llpf_plugin.preflight.checks import Finding, raise_errors
from llpf_plugin.preflight.fitted import fitted
from llpf_plugin.preflight.folders import check_beside
from llpf_plugin.preflight.independence import centred_cosine, independent, trained
from llpf_plugin.preflight.kinship import ONE_ORIGIN, Compared, compared, kinship, likeness
from llpf_plugin.preflight.pair import NEARLY_SAME, check_pair, compare, complete, fits, look
from llpf_plugin.preflight.reached import say_unreached, unreached, with_what_belongs
from llpf_plugin.preflight.statistics import SPHERE_RATIO, LayerStatistics, apart, layer_statistics, off_sphere
from llpf_plugin.preflight.training_mode import training_mode

__all__ = [
    "CLOSE",
    "NEARLY_SAME",
    "ONE_ORIGIN",
    "SPHERE_RATIO",
    "Compared",
    "Finding",
    "LayerStatistics",
    "PairCheck",
    "apart",
    "centred_cosine",
    "check",
    "check_beside",
    "check_pair",
    "compare",
    "compared",
    "complete",
    "fits",
    "fitted",
    "independent",
    "kinship",
    "layer_statistics",
    "likeness",
    "look",
    "off_sphere",
    "raise_errors",
    "say_unreached",
    "trained",
    "training_mode",
    "unreached",
    "with_what_belongs",
]
