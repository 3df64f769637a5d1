"""LLPF: low-loss paths between independently trained networks (arXiv 2505.02604)."""

from typing import TYPE_CHECKING

from llpf_plugin.lazy import lazily

if TYPE_CHECKING:
    from llpf_plugin.alignment.matching import align
    from llpf_plugin.errors import LLPFError
    from llpf_plugin.geometry.path import Path
    from llpf_plugin.llpf.method import LLPF
    from llpf_plugin.merging.merge import merge
    from llpf_plugin.methods.base import Method
    from llpf_plugin.methods.baselines import AutoNEB, Bezier, Finetune, LearnedMatching, Linear, SphereCurve
    from llpf_plugin.order.derive import layer_order
    from llpf_plugin.quality.measuring import measure
    from llpf_plugin.quality.verdict import Quality
    from llpf_plugin.search.find import find_path
    from llpf_plugin.search.origin import walk_to_origin
    from llpf_plugin.tasks.data import TensorData, crop_and_flip
    from llpf_plugin.tasks.load import load_task
    from llpf_plugin.tasks.loader import LoaderData
    from llpf_plugin.tasks.recipe import Recipe
    from llpf_plugin.tasks.task import Defaults, Task, classification
    from llpf_plugin.workspace import Compute

_PLACES = {
    "LLPF": "llpf.method",
    "AutoNEB": "methods.baselines",
    "Bezier": "methods.baselines",
    "Compute": "workspace",
    "Defaults": "tasks.task",
    "Finetune": "methods.baselines",
    "LLPFError": "errors",
    "LearnedMatching": "methods.baselines",
    "Linear": "methods.baselines",
    "LoaderData": "tasks.loader",
    "Method": "methods.base",
    "Path": "geometry.path",
    "Quality": "quality.verdict",
    "Recipe": "tasks.recipe",
    "SphereCurve": "methods.baselines",
    "Task": "tasks.task",
    "TensorData": "tasks.data",
    "align": "alignment.matching",
    "classification": "tasks.task",
    "crop_and_flip": "tasks.data",
    "find_path": "search.find",
    "layer_order": "order.derive",
    "load_task": "tasks.load",
    "measure": "quality.measuring",
    "merge": "merging.merge",
    "walk_to_origin": "search.origin",
}

__all__ = [
    "LLPF",
    "AutoNEB",
    "Bezier",
    "Compute",
    "Defaults",
    "Finetune",
    "LLPFError",
    "LearnedMatching",
    "Linear",
    "LoaderData",
    "Method",
    "Path",
    "Quality",
    "Recipe",
    "SphereCurve",
    "Task",
    "TensorData",
    "align",
    "classification",
    "crop_and_flip",
    "find_path",
    "layer_order",
    "load_task",
    "measure",
    "merge",
    "walk_to_origin",
]

__getattr__ = lazily(__name__, _PLACES)
