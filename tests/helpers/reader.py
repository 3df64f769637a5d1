"""Reads checkpoints in processes of their own, which may take neither much time nor much memory.

As a script it serves paths, one a line: it has torch imported already, and forks for each of them.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 6.0
"""Seconds after which reading a small file counts as hanging."""

GUARD = 2 << 30
"""Bytes that reading may ask for, so that a test cannot take the machine's memory."""


class Reader:
    """The process that reads."""

    def __init__(self) -> None:
        words = [sys.executable, __file__]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self, place: Path) -> dict[str, Any]:
        """What came of reading a file.

        Returns:
            ``grown``, the memory it took in bytes, and ``error``: None, the exception's name or ``hangs``; with an
            error its ``message``, otherwise the ``shapes`` of the tensors by name.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        print(place, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


@contextmanager
def reader() -> Iterator[Reader]:
    """A `Reader` that ends with the block."""
    one = Reader()
    try:
        yield one
    finally:
        with suppress(BrokenPipeError):
            one.process.communicate()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _outcome(place: str) -> dict[str, Any]:
    """Read a file, in this process."""
    from llpf_plugin.checkpoint import read

    before = _peak()
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + GUARD, taken + GUARD))
    try:
        found: dict[str, Any] = {"error": None, "shapes": {k: list(t.shape) for k, t in read(place).weights.items()}}
    except BaseException as error:
        found = {"error": type(error).__name__, "message": str(error)}
    return {**found, "grown": _peak() - before}


def _forked(place: str) -> str:
    """`_outcome` in a fork, as JSON."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        with os.fdopen(into, "w") as pipe:
            pipe.write(json.dumps(_outcome(place)))
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as pipe:
        ready = select.select([pipe], [], [], PATIENCE)[0]
        if not ready:
            os.kill(child, signal.SIGKILL)
        text = pipe.read()
    os.waitpid(child, 0)
    return text or json.dumps({"error": "hangs" if not ready else "killed", "message": "", "grown": 0})


if __name__ == "__main__":
    import llpf_plugin.checkpoint  # noqa: F401 - so that the forks have it

    for line in sys.stdin:
        print(_forked(line.rstrip("\n")), flush=True)
