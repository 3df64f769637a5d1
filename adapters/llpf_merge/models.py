"""Models by specification: `module:function`, `file.py:function`, `torchvision:NAME`, `timm:NAME`, `hf:CONFIG`."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llpf_merge.families import build_hugging_face, build_timm, build_torchvision, example_tensor, nearest
from llpf_plugin import LLPFError, Task, load_task
from llpf_plugin.errors import OrderError

_SHAPE = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>\d+(?:x\d+)*)(?::(?P<dtype>\w+))?")


def load_model(spec: str, arguments: dict[str, Any], device: str | None = None) -> tuple[nn.Module, Any]:
    """Build the model that a specification names.

    Args:
        spec: See above, or the name of a built-in task such as `digits/resnet`. A function may return a module, a pair
            of module and example inputs, or a task.
        arguments: Given to the function or constructor by name.
        device: Where to build it; `meta` needs no memory. By default on the CPU, but large `hf:` models on `meta`.

    Returns:
        The model, and example inputs where they are known, else None.

    Raises:
        OrderError: There is no such model, or its code raised.
    """
    family, _, name = spec.partition(":")
    if "/" in spec and not name:
        task = load_task(spec, arguments)
        return task.model, task.example_inputs()
    if not name:
        raise OrderError(
            f"{spec!r} names no model. "
            "Give module:function, file.py:function, torchvision:NAME, timm:NAME or hf:CONFIG_OR_FOLDER."
        )
    builders = {"torchvision": build_torchvision, "timm": build_timm, "hf": build_hugging_face}
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
        tensor = example_tensor(tuple(int(n) for n in match["shape"].split("x")), kind)
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
        raise OrderError(f"{place} has no {name!r}.{nearest(name, names)}")
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
