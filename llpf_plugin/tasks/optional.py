"""What some tasks need beside the package's own requirements, imported when such a task is built."""

import importlib
import os
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


def transformers() -> Any:
    """The transformers library, kept from the network.

    Raises:
        TaskError: it is not installed.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # what is named lies on the disk
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise TaskError("this task needs transformers: pip install 'llpf-plugin[hf]'") from error


def pillow() -> Any:
    """The module of Pillow that reads images.

    Raises:
        TaskError: it is not installed.
    """
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise TaskError("this task needs Pillow: pip install 'llpf-plugin[hf]'") from error
