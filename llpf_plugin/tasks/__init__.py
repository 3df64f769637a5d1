"""Tasks: what a checkpoint alone does not say. Data sets are imported when a task is built, never before.

Names that need torch are imported when they are asked for, so that the command line can read specifications without it.
"""

from typing import TYPE_CHECKING

from llpf_plugin.lazy import lazily
from llpf_plugin.tasks.packages import declared
from llpf_plugin.tasks.specification import build, explained, find, nearest, parse_arguments, parse_value

if TYPE_CHECKING:
    from llpf_plugin.tasks.batches import Data
    from llpf_plugin.tasks.data import TensorData, crop_and_flip
    from llpf_plugin.tasks.load import load_task
    from llpf_plugin.tasks.loader import LoaderData
    from llpf_plugin.tasks.recipe import Recipe
    from llpf_plugin.tasks.sampling import generator
    from llpf_plugin.tasks.task import Defaults, Task, classification

_NETWORKS = (
    "vgg11",
    "resnet18",
    "resnet20",
    "densenet",
    "mobilenetv2",
    "shufflenetv2",
    "efficientnet-b0",
    "regnetx-200mf",
    "dla",
    "cct7",
    "cct2",
)

BUILT_IN: dict[str, str] = {
    "digits/mlp": "llpf_plugin.tasks.digits:mlp",
    "digits/resnet": "llpf_plugin.tasks.digits:resnet",
    "digits/transformer": "llpf_plugin.tasks.digits:transformer",
    "mnist/lenet5": "llpf_plugin.tasks.mnist:lenet5",
    "cifar10/resnet8": "llpf_plugin.tasks.cifar:cifar10.resnet8",
    **{
        f"{data}/{network}": f"llpf_plugin.tasks.cifar:{data}.{network.replace('-', '_')}"
        for data in ("cifar10", "cifar100")
        for network in _NETWORKS
    },
    "imagenet10/resnet18": "llpf_plugin.tasks.imagenet10:resnet18",
    "tabular/mlp": "llpf_plugin.tasks.plain.tabular:mlp",
    "images/CLASSIFIER": "llpf_plugin.tasks.plain.images:classifier",
    **{
        f"hf/{name}": f"llpf_plugin.tasks.hugging_face.factories:{name.replace('-', '_')}"
        for name in ("causal-lm", "masked-lm", "text-classification", "image-classification")
    },
}
"""Name to ``module:function``, or ``module:object.method``; CLASSIFIER is any of torchvision's or timm's."""

GROUP = "llpf_plugin.tasks"
"""The entry points by which other packages bring tasks."""


def known() -> dict[str, str]:
    """Every name with the ``module:function`` that it stands for; ours come first and cannot be replaced."""
    others = {name: point.value for name, point in declared(GROUP).items() if name not in BUILT_IN}
    return {**BUILT_IN, **others}


_PLACES = {
    "Data": "batches",
    "Defaults": "task",
    "LoaderData": "loader",
    "Recipe": "recipe",
    "Task": "task",
    "TensorData": "data",
    "classification": "task",
    "crop_and_flip": "data",
    "generator": "sampling",
    "load_task": "load",
}

__all__ = [
    "BUILT_IN",
    "GROUP",
    "Data",
    "Defaults",
    "LoaderData",
    "Recipe",
    "Task",
    "TensorData",
    "build",
    "classification",
    "crop_and_flip",
    "explained",
    "find",
    "generator",
    "known",
    "load_task",
    "nearest",
    "parse_arguments",
    "parse_value",
]

__getattr__ = lazily(__name__, _PLACES)
