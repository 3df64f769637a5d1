"""Where the networks' parts come from: torchvision, imported when a network is built."""

import importlib
from typing import Any

from llpf_plugin.errors import TaskError


def torchvision(module: str) -> Any:
    """A module of torchvision.

    Raises:
        TaskError: torchvision is not installed.
    """
    try:
        return importlib.import_module(f"torchvision.{module}")
    except ImportError as error:
        raise TaskError("this network needs torchvision: pip install 'llpf-plugin[vision]'") from error


def scaled(channels: int, width: int, own: int, multiple: int = 1) -> int:
    """``channels`` times ``width / own``, rounded to a ``multiple`` above 0."""
    return multiple * max(1, round(channels * width / (own * multiple)))
