"""Families of models by name, with the inputs that they expect: torchvision, timm, transformers."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llpf_plugin.errors import SpecificationError
from llpf_plugin.tasks import nearest
from llpf_plugin.tasks.hugging_face import build_network, configuration, example_inputs, example_tensor

LARGE = 300_000_000
"""Parameters from which a model that is built from its configuration stays on ``meta``."""


def require(package: str, extra: str) -> Any:
    """A package that an extra installs.

    Raises:
        SpecificationError: it is missing.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise SpecificationError(f"{package} is not installed: pip install 'llpf-plugin[{extra}]'") from error


Built = tuple[nn.Module, Callable[[], Any]]
"""A model without weights, and what makes the inputs that it expects."""


def build_torchvision(name: str, arguments: dict[str, Any], device: str | None) -> Built:
    """A model of torchvision without weights."""
    models = require("torchvision", "vision").models
    if name not in models.list_models():
        raise SpecificationError(f"torchvision has no model {name!r}{nearest(name, models.list_models())}")
    builder = models.get_model_builder(name)
    given: dict[str, Any] = {"weights": None}
    if any(family in builder.__module__ for family in ("detection", "segmentation")):
        given["weights_backbone"] = None
    if name in ("inception_v3", "googlenet"):
        given["init_weights"] = False
    with torch.device(device or "cpu"):
        return builder(**given | arguments), lambda: torchvision_inputs(name, builder.__module__)


def torchvision_inputs(name: str, module: str) -> Any:
    """Example inputs as torchvision's families expect them."""
    if ".detection" in module:
        return ([torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0))],)
    if ".video" in module:
        frames, side = (16, 224) if name.startswith(("mvit", "swin", "s3d")) else (8, 112)
        return (example_tensor((1, 3, frames, side, side), torch.float32),)
    if ".optical_flow" in module:
        return (example_tensor((1, 3, 128, 128), torch.float32), example_tensor((1, 3, 128, 128), torch.float32))
    side = {"inception_v3": 299, "vit_h_14": 224}.get(name.removeprefix("quantized_"), 224)
    return (example_tensor((1, 3, side, side), torch.float32),)


def build_timm(name: str, arguments: dict[str, Any], device: str | None) -> Built:
    """A model of timm without weights."""
    timm = require("timm", "timm")
    if not timm.is_model(name.partition(".")[0]):
        raise SpecificationError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    with torch.device(device or "cpu"):
        model = timm.create_model(name, pretrained=False, **arguments)
    size = tuple(model.pretrained_cfg.get("input_size", (3, 224, 224)))
    return model, lambda: (example_tensor((1, *size), torch.float32),)


def build_hugging_face(name: str, arguments: dict[str, Any], device: str | None) -> Built:
    """A model of transformers from a configuration: a folder, or the name of a kind."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # built from the configuration: nothing is downloaded
    transformers = require("transformers", "hf")
    if Path(name).exists():
        config = configuration(name, **arguments)
    elif name in transformers.CONFIG_MAPPING:
        config = transformers.AutoConfig.for_model(name, **arguments)
    else:
        known = list(transformers.CONFIG_MAPPING.keys())
        raise SpecificationError(
            f"there is no folder and no configuration of transformers named {name!r}{nearest(name, known)}"
        )
    with torch.device(device or "meta"):
        model = build_network(config)
    if device is None and sum(parameter.numel() for parameter in model.parameters()) < LARGE:
        model = build_network(config)
    experts: Any = getattr(model, "set_experts_implementation", None)
    if experts is not None and any(parameter.is_meta for parameter in model.parameters()):
        experts("batched_mm")  # the others need data, or run in bfloat16 alone
    return model, lambda: example_inputs(model, config)
