"""LLPF: low-loss paths between independently trained networks (arXiv 2505.02604)."""

from llpf_plugin.alignment.matching import align
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry.path import Path
from llpf_plugin.order import layer_order
from llpf_plugin.quality import Quality, measure
from llpf_plugin.search.find import find_path
from llpf_plugin.search.origin import walk_to_origin
from llpf_plugin.search.settings import Settings
from llpf_plugin.tasks.data import LoaderData, TensorData, crop_and_flip
from llpf_plugin.tasks.task import Defaults, Task, classification, load_task
from llpf_plugin.workspace import Compute

__all__ = [
    "Compute",
    "Defaults",
    "LLPFError",
    "LoaderData",
    "Path",
    "Quality",
    "Settings",
    "Task",
    "TensorData",
    "align",
    "classification",
    "crop_and_flip",
    "find_path",
    "layer_order",
    "load_task",
    "measure",
    "walk_to_origin",
]
