"""Models by specification: `module:function`, `file.py:function`, `torchvision:NAME`, `timm:NAME`, `hf:CONFIG`."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llpf_plugin import LLPFError, Task
from llpf_plugin.errors import OrderError

LARGE = 300_000_000  # parameters from which a model that is built from its configuration stays on `meta`
_SHAPE = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>\d+(?:x\d+)*)(?::(?P<dtype>\w+))?")


def load_model(spec: str, arguments: dict[str, Any], device: str | None = None) -> tuple[nn.Module, Any]:
    """Build the model that a specification names.

    Args:
        spec: See above. A function may return a module, a pair of module and example inputs, or a task.
        arguments: Given to the function or constructor by name.
        device: Where to build it; `meta` needs no memory. By default on the CPU, but large `hf:` models on `meta`.

    Returns:
        The model, and example inputs where they are known, else None.

    Raises:
        OrderError: There is no such model, or its code raised.
    """
    family, _, name = spec.partition(":")
    if not name:
        raise OrderError(
            f"{spec!r} names no model. "
            "Give module:function, file.py:function, torchvision:NAME, timm:NAME or hf:CONFIG_OR_FOLDER."
        )
    builders = {"torchvision": _torchvision, "timm": _timm, "hf": _hugging_face}
    if family not in builders:
        return _custom(spec, arguments, device)
    with explained(f"Building {spec}"):
        return builders[family](name, arguments, device)


def parse_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` pairs; values are Python literals, or else strings."""
    arguments = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise OrderError(f"{pair!r} is no argument of the form key=value.")
        try:
            arguments[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[key] = value
    return arguments


def parse_inputs(shapes: Sequence[str], dtype: str) -> Any:
    """Make example inputs from shapes such as `1x3x224x224`, `1x8:int64` or `input_ids=1x8:int64`."""
    positional: list[torch.Tensor] = []
    named: dict[str, torch.Tensor] = {}
    for shape in shapes:
        match = _SHAPE.fullmatch(shape)
        if not match:
            raise OrderError(f"{shape!r} is no shape. Write 1x3x224x224, 1x8:int64 or input_ids=1x8:int64.")
        kind = getattr(torch, match["dtype"] or dtype, None)
        if not isinstance(kind, torch.dtype):
            raise OrderError(
                f"{match['dtype'] or dtype!r} is no dtype of torch. Write float32, bfloat16, int64 or bool."
            )
        tensor = _example(tuple(int(n) for n in match["shape"].split("x")), kind)
        if match["name"]:
            named[match["name"]] = tensor
        else:
            positional.append(tensor)
    if positional and named:
        raise OrderError("Give all inputs by position or all by name, not both.")
    return named or tuple(positional)


def call_factory(spec: str) -> Any:
    """Call the function that `module:function` or `file.py:function` names."""
    found = _find(spec)
    with explained(f"{spec}"):
        return found() if callable(found) else found


@contextmanager
def explained(what: str) -> Any:
    """Turn whatever foreign code raises into one message that says where."""
    try:
        yield
    except LLPFError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split())[:500]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        raise OrderError(f"{what} failed in {place}: {type(error).__name__}: {message}") from error


def _example(shape: tuple[int, ...], kind: torch.dtype) -> torch.Tensor:
    if kind.is_floating_point or kind.is_complex:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(kind)
    return torch.zeros(shape, dtype=kind)


def _custom(spec: str, arguments: dict[str, Any], device: str | None) -> tuple[nn.Module, Any]:
    found = _find(spec)
    with explained(f"{spec}"), torch.device(device) if device else nullcontext():
        result = found if isinstance(found, nn.Module) or not callable(found) else found(**arguments)
    if isinstance(result, Task):
        return result.model, result.example_inputs()
    model, inputs = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(model, nn.Module):
        raise OrderError(
            f"{spec} gave a {type(model).__name__}. It must return a torch.nn.Module, or (module, inputs)."
        )
    return model, inputs


def _find(spec: str) -> Any:
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise OrderError(f"{spec!r} names no function. Write module:function or file.py:function.")
    module = _module(place)
    if not hasattr(module, name):
        names = [other for other in vars(module) if not other.startswith("_")]
        raise OrderError(f"{place} has no {name!r}.{_nearest(name, names)}")
    return getattr(module, name)


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        try:
            with explained(f"Importing {place}"):
                return importlib.import_module(place)
        finally:
            sys.path.remove(str(Path.cwd()))
    path = Path(place)
    if not path.is_file():
        raise OrderError(f"There is no file {place}.")
    found = importlib.util.spec_from_file_location(f"_llpf_order_{path.stem}", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    sys.path.insert(0, str(path.parent.resolve()))  # the file may import its neighbours
    try:
        with explained(f"Importing {place}"):
            found.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _require(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise OrderError(f"{package} is not installed: pip install 'llpf-plugin[{extra}]'.") from error


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.5) or sorted(known)[:4]
    return f" The nearest are {', '.join(near)}." if near else ""


def _torchvision(name: str, arguments: dict[str, Any], device: str | None) -> tuple[nn.Module, Any]:
    models = _require("torchvision", "vision").models
    if name not in models.list_models():
        raise OrderError(f"torchvision has no model {name!r}.{_nearest(name, models.list_models())}")
    builder = models.get_model_builder(name)
    given: dict[str, Any] = {"weights": None}
    if any(family in builder.__module__ for family in ("detection", "segmentation")):
        given["weights_backbone"] = None
    if name in ("inception_v3", "googlenet"):
        given["init_weights"] = False
    with torch.device(device or "cpu"):
        return builder(**given | arguments), torchvision_inputs(name, builder.__module__)


def torchvision_inputs(name: str, module: str) -> Any:
    """Make example inputs as torchvision's families expect them."""
    if ".detection" in module:
        return ([torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0))],)
    if ".video" in module:
        frames, side = (16, 224) if name.startswith(("mvit", "swin", "s3d")) else (8, 112)
        return (_example((1, 3, frames, side, side), torch.float32),)
    if ".optical_flow" in module:
        return (_example((1, 3, 128, 128), torch.float32), _example((1, 3, 128, 128), torch.float32))
    side = {"inception_v3": 299, "vit_h_14": 224}.get(name.removeprefix("quantized_"), 224)
    return (_example((1, 3, side, side), torch.float32),)


def _timm(name: str, arguments: dict[str, Any], device: str | None) -> tuple[nn.Module, Any]:
    timm = _require("timm", "timm")
    if not timm.is_model(name.partition(".")[0]):
        raise OrderError(f"timm has no model {name!r}.{_nearest(name, timm.list_models())}")
    with torch.device(device or "cpu"):
        model = timm.create_model(name, pretrained=False, **arguments)
    size = tuple(model.pretrained_cfg.get("input_size", (3, 224, 224)))
    return model, (_example((1, *size), torch.float32),)


def _hugging_face(name: str, arguments: dict[str, Any], device: str | None) -> tuple[nn.Module, Any]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # built from the configuration: nothing is downloaded
    transformers = _require("transformers", "hf")
    if Path(name).exists():
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=True, **arguments)
    elif name in transformers.CONFIG_MAPPING:
        config = transformers.AutoConfig.for_model(name, **arguments)
    else:
        known = list(transformers.CONFIG_MAPPING.keys())
        raise OrderError(
            f"There is no folder and no configuration of transformers named {name!r}.{_nearest(name, known)}"
        )
    kind = getattr(transformers, (config.architectures or [""])[0], None)
    build: Callable[[], nn.Module] = lambda: kind(config) if kind else transformers.AutoModel.from_config(config)  # noqa: E731
    with torch.device(device or "meta"):
        model = build()
    if device is None and sum(parameter.numel() for parameter in model.parameters()) < LARGE:
        model = build()
    return model, hugging_face_inputs(model, config)


def hugging_face_inputs(model: Any, config: Any) -> dict[str, torch.Tensor]:
    """Make example inputs as the configuration describes them: text, images, sound, or several."""
    inputs: dict[str, torch.Tensor] = {}
    main = model.main_input_name
    vision = getattr(config, "vision_config", config)
    if main == "pixel_values" or vision is not config:
        side = vision.image_size
        height, width = (side, side) if isinstance(side, int) else side
        inputs["pixel_values"] = _example((1, getattr(vision, "num_channels", 3), height, width), torch.float32)
    if main == "input_features":
        length = 2 * getattr(config, "max_source_positions", 1500)
        inputs[main] = _example((1, config.num_mel_bins, length), torch.float32)
    if main == "input_values":
        inputs[main] = _example((1, 16_000), torch.float32)
    if main == "input_ids":
        inputs[main] = torch.ones(1, 8, dtype=torch.int64)
    if getattr(config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = torch.ones(1, 8, dtype=torch.int64)
    return inputs
