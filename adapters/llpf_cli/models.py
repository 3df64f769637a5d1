"""Models by specification: ``module:function``, ``file.py:function``, ``torchvision:``, ``timm:``, ``hf:``."""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from llpf_cli.families import build_hugging_face, build_timm, build_torchvision
from llpf_plugin.errors import SpecificationError, UsageError
from llpf_plugin.tasks import Task, build, explained, find, known, load_task
from llpf_plugin.tasks.hugging_face import example_tensor

FAMILIES = {"torchvision": build_torchvision, "timm": build_timm, "hf": build_hugging_face}

_SHAPE = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>\d+(?:x\d+)*)(?::(?P<dtype>\w+))?")


def load_model(
    spec: str, arguments: Mapping[str, Any], device: str | None = None, guess: bool = True
) -> tuple[nn.Module, Any]:
    """Build the model that a specification names.

    Args:
        spec: see above, or the name of a built-in task such as ``digits/resnet``. A function may return a module, a
            pair of module and example inputs, or a task.
        arguments: of the function or constructor.
        device: where to build it; ``meta`` needs no memory. By default the CPU, but large ``hf:`` models stay on meta.
        guess: make the inputs that a family's models expect; False where they are given.

    Returns:
        The model, and example inputs where they are known, else None.

    Raises:
        LLPFError: there is no such model, or its code raised.
    """
    family, _, name = spec.partition(":")
    if not name and ("/" in spec or spec in known()):
        task = load_task(spec, arguments)
        return task.model, task.example_inputs()
    if not name:
        raise SpecificationError(
            f"{spec!r} does not name a model: give module:function, file.py:function, torchvision:NAME, timm:NAME or "
            "hf:CONFIG_OR_FOLDER"
        )
    if family in FAMILIES:
        with explained(f"building {spec}"):
            built, expected = FAMILIES[family](name, dict(arguments), device)
            return built, expected() if guess else None
    found = find(spec)
    with torch.device(device) if device else nullcontext():
        made = found if isinstance(found, nn.Module) or not callable(found) else build(spec, found, arguments)
    if isinstance(made, Task):
        return made.model, made.example_inputs()
    model, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise SpecificationError(
            f"{spec} gave a {type(model).__name__}; it must return a torch.nn.Module, or (module, inputs)"
        )
    return model, inputs


def parse_inputs(shapes: Sequence[str], dtype: str) -> Any:
    """Example inputs from shapes such as ``1x3x224x224``, ``1x8:int64`` or ``input_ids=1x8:int64``.

    Raises:
        UsageError: a shape or a dtype that is none, or inputs by position and by name.
    """
    positional: list[torch.Tensor] = []
    named: dict[str, torch.Tensor] = {}
    for shape in shapes:
        match = _SHAPE.fullmatch(shape)
        if not match:
            raise UsageError(f"{shape!r} is not a shape: write 1x3x224x224, 1x8:int64 or input_ids=1x8:int64")
        kind = getattr(torch, match["dtype"] or dtype, None)
        if not isinstance(kind, torch.dtype):
            word = match["dtype"] or dtype
            raise UsageError(f"{word!r} is not a torch dtype: write float32, bfloat16, int64 or bool")
        tensor = example_tensor(tuple(int(n) for n in match["shape"].split("x")), kind)
        if match["name"]:
            named[match["name"]] = tensor
        else:
            positional.append(tensor)
    if positional and named:
        raise UsageError("give all inputs by position or all by name, not both")
    return named or tuple(positional)
