"""Tasks as users write them, most of which go wrong: a factory each, found by ``user_tasks:NAME``."""

from collections.abc import Callable
from typing import Any

from user_tasks import data, factories, forwards, layers, losses, models, objectives  # noqa: F401 - they fill the table
from user_tasks.base import TASKS, net

__all__ = ["TASKS", "net"]


def __getattr__(name: str) -> Callable[..., Any]:
    try:
        return TASKS[name]
    except KeyError:
        raise AttributeError(name) from None
