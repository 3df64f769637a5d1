"""The one place where errors become messages and exit codes."""

import functools
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from llpf_plugin.errors import InterruptedRun, LLPFError

CONNECTED, ERROR, NOT_CONNECTED, INTERRUPTED = 0, 1, 3, 130
"""Exit codes: all went well; an error; the goal was not reached; Ctrl-C. Wrong usage is 2, by typer."""


def exits(program: str) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Turn a function that returns an exit code, or raises our errors, into a typer command.

    Args:
        program: the name that messages begin with.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(*args: Any, **kwargs: Any) -> None:
            try:
                code = function(*args, **kwargs)
            except InterruptedRun as stop:
                _say(f"{program}: {stop}", "yellow")
                code = INTERRUPTED
            except KeyboardInterrupt:
                _say(f"{program}: stopped", "yellow")
                code = INTERRUPTED
            except LLPFError as error:
                _say(f"{program}: {error}", "red")
                code = ERROR
            raise typer.Exit(code)

        return command

    return decorate


def _say(text: str, style: str) -> None:
    Console(stderr=True).print(text, style=style, markup=False, highlight=False, soft_wrap=True)
