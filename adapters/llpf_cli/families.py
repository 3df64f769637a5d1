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

LARGE = 300_000_000
"""Parameters from which a model that is built from its configuration stays on ``meta``."""


def example_tensor(shape: tuple[int, ...], kind: torch.dtype) -> torch.Tensor:
    """An example: zeros for whole numbers, which are valid indices, seeded noise otherwise."""
    if kind.is_floating_point or kind.is_complex:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(kind)
    return torch.zeros(shape, dtype=kind)


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
        config = transformers.AutoConfig.from_pretrained(
            name, local_files_only=True, trust_remote_code=False, **arguments
        )
    elif name in transformers.CONFIG_MAPPING:
        config = transformers.AutoConfig.for_model(name, **arguments)
    else:
        known = list(transformers.CONFIG_MAPPING.keys())
        raise SpecificationError(
            f"there is no folder and no configuration of transformers named {name!r}{nearest(name, known)}"
        )
    if getattr(config, "use_pretrained_backbone", False):  # transformers 4 would look for it on the hub
        config.use_pretrained_backbone = False
    kind = getattr(transformers, (config.architectures or [""])[0], None)
    build: Callable[[], nn.Module] = lambda: kind(config) if kind else transformers.AutoModel.from_config(config)  # noqa: E731
    try:
        with torch.device(device or "meta"):
            model = build()
    except RuntimeError:
        if device is not None:
            raise
        model = build()  # of transformers 4, some need values
    if device is None and sum(parameter.numel() for parameter in model.parameters()) < LARGE:
        model = build()
    experts: Any = getattr(model, "set_experts_implementation", None)
    if experts is not None and any(parameter.is_meta for parameter in model.parameters()):
        experts("batched_mm")  # the others need data, or run in bfloat16 alone
    return model, lambda: hugging_face_inputs(model, config)


def hugging_face_inputs(model: Any, config: Any) -> dict[str, torch.Tensor] | None:
    """Example inputs as the configuration describes them: text, images, sound, or several; None if it does not."""
    try:
        return _described(model, config)
    except AttributeError:
        return None


def _described(model: Any, config: Any) -> dict[str, torch.Tensor]:
    inputs: dict[str, torch.Tensor] = {}
    main = model.main_input_name
    vision = getattr(config, "vision_config", config)
    if main == "pixel_values" or vision is not config:
        side = vision.image_size
        height, width = (side, side) if isinstance(side, int) else side
        inputs["pixel_values"] = example_tensor((1, getattr(vision, "num_channels", 3), height, width), torch.float32)
    if main == "input_features":
        length = 2 * getattr(config, "max_source_positions", 1500)
        inputs[main] = example_tensor((1, config.num_mel_bins, length), torch.float32)
    if main == "input_values":
        inputs[main] = example_tensor((1, 16_000), torch.float32)
    if main == "input_ids":
        inputs[main] = torch.ones(1, 8, dtype=torch.int64)
    if getattr(config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = torch.ones(1, 8, dtype=torch.int64)
    return inputs
