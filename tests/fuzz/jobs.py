"""Jobs for the server, and what must hold of each: no traceback, soon, in little memory, nothing else touched."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE, BUSY = 60.0, 20.0
"""Seconds after which a job hangs, on a machine that may have other work, and of processor time that it may take."""

FREE = 256 << 20
"""Bytes that reading a checkpoint may take beside four times its size, and that any command on a small run may take."""

LONGEST = 4000
"""Characters that a refusal has at most; most have a few hundred."""


@dataclass(frozen=True)
class Found:
    """What came of a job."""

    code: int
    text: str
    seconds: float
    grown: int
    operations: int = 0
    busy: float = 0.0

    def faults(self, size: int = 0, codes: tuple[int, ...] = (0, 1, 2, 3)) -> list[str]:
        """What must not be, in words; ``size`` is that of the input in bytes."""
        told = []
        if "Traceback (most recent call last)" in self.text:
            told.append("traceback: " + self.text.strip().splitlines()[-1][:300])
        elif self.code == -9:
            told.append(f"hangs, or was killed, after {self.seconds:.0f} s: {self.text[-200:]}")
        elif self.code not in codes:
            told.append(f"exit {self.code}: {self.text[-300:]}")
        if self.busy > BUSY:
            told.append(f"{self.busy:.0f} s of processor time")
        if self.grown > FREE + 4 * size:
            told.append(f"{self.grown >> 20} MB")
        if self.code in (1, 2) and len(self.text) > LONGEST:
            told.append(f"{len(self.text)} characters: {self.text[:100]} … {self.text[-100:]}")
        if any(not c.isprintable() and c not in "\n\t" for c in self.text):
            told.append(f"control characters: {self.text[-200:]!r}")
        return told


class Jobs:
    """The process that forks for every job."""

    def __init__(self) -> None:
        words = [sys.executable, str(Path(__file__).with_name("server.py"))]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300", "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def do(self, cwd: Path, *words: object, **more: Any) -> Found:
        """Run ``llpf`` with these words; further keys are those of a job (see the server)."""
        return Found(**self._ask({"cwd": str(cwd), "words": [str(word) for word in words], **more}))

    def call(self, function: str, place: Path, **more: Any) -> Found:
        """Call a function, as ``module:function``, with a path; what it raises for the user is exit 1."""
        return Found(**self._ask({"cwd": str(place.parent), "call": function, "place": str(place), **more}))

    def load(self, *modules: str) -> None:
        """Import modules before the jobs that come, which then do not take their memory."""
        self._ask({"modules": modules})

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps({"patience": PATIENCE, **job}), file=self.process.stdin, flush=True)
        answered: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answered


@contextmanager
def jobs() -> Iterator[Jobs]:
    """A server that ends with the block."""
    one = Jobs()
    try:
        yield one
    finally:
        with suppress(BrokenPipeError):
            one.process.communicate()
