"""What some tasks need beside the package's own requirements, imported when such a task is built."""

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
        raise TaskError("this task needs torchvision: pip install 'llpf-plugin[vision]'") from error
