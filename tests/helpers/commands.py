"""The console commands, as tests call them: in this process, or in a process of their own.

How the commands are built is known here and nowhere else in the tests.
"""

import io
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from helpers import scripts

WIDE = {"COLUMNS": "300"}
"""So wide that no sentence is broken into lines."""


@dataclass(frozen=True)
class Result:
    """How a command ended: its exit code, and what it wrote to the two streams; an uncaught exception is in ``err``."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that the user sees."""
        return self.out + self.err

    @property
    def traceback(self) -> bool:
        """Whether the user sees a Python traceback."""
        return "Traceback (most recent call last)" in self.text


def llpf(*words: object) -> Result:
    """``llpf``, in this process; an exception that it does not catch is in ``err``, as the user would see it."""
    out, err = io.StringIO(), io.StringIO()
    argv = mock.patch.object(sys, "argv", ["llpf", *map(str, words)])
    with argv, mock.patch.dict(os.environ, WIDE), redirect_stdout(out), redirect_stderr(err):
        try:
            code = scripts.run("llpf")
        except SystemExit as stop:
            code = stop.code
        except BaseException as error:
            code = 1
            err.write("".join(traceback.format_exception(error)))
    return Result(int(code or 0), out.getvalue(), err.getvalue())  # type: ignore[call-overload]


def merge(*words: object) -> Result:
    """``llpf merge``, in this process."""
    return llpf("merge", *words)


def report(*words: object) -> Result:
    """``llpf report``, in this process."""
    return llpf("report", *words)


def order(*words: object) -> Result:
    """``llpf order``, in this process."""
    return llpf("order", *words)


def method(name: str, **settings: object) -> list[str]:
    """The words that ask for a method with these settings."""
    words = ["--method", name]
    for key, value in settings.items():
        words += ["-m", f"{key}={value}"]
    return words


def process(
    command: str | Path, *words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None,
    timeout: float = 60, limits: Mapping[int, int] | None = None,
) -> Result:  # fmt: skip
    """A console script, or a Python file, in a process of its own; killed by a signal, its code is below 0.

    Args:
        command: ``llpf-merge`` and so on, or a path ending in ``.py``.
        words: its arguments; bytes are passed on as they are.
        env: what is added to the environment.
        cwd: the folder it is run in.
        timeout: seconds after which it is killed, and counts as hanging.
        limits: soft limits by ``resource.RLIMIT_…``.

    Raises:
        AssertionError: it hangs.
    """
    begun = started(command, *words, env=env, cwd=cwd, limits=limits)
    return ended(begun, timeout)


def started(
    command: str | Path, *words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None,
    limits: Mapping[int, int] | None = None,
) -> "subprocess.Popen[bytes]":  # fmt: skip
    """`process` that is not waited for."""

    def limit() -> None:
        for kind, size in (limits or {}).items():
            resource.setrlimit(kind, (size, resource.getrlimit(kind)[1]))

    return subprocess.Popen(
        [*_script(command), *(word if isinstance(word, bytes) else str(word) for word in words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **WIDE, **(env or {})}, cwd=cwd,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit if limits else None,
    )  # fmt: skip


def ended(begun: "subprocess.Popen[bytes]", timeout: float = 60) -> Result:
    """How a started process ended."""
    try:
        out, err = begun.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        begun.kill()
        begun.communicate()
        raise AssertionError(f"{' '.join(map(str, begun.args))[:300]} was still running after {timeout} s") from error
    return Result(begun.returncode, *(text.decode("utf-8", "backslashreplace") for text in (out, err)))


def _script(command: str | Path) -> list[Any]:
    """The words that run a console script or a Python file."""
    if str(command).endswith(".py"):
        return [sys.executable, command]
    return [sys.executable, Path(__file__).with_name("scripts.py"), command]
