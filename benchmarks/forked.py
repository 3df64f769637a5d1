"""Work in a process of its own, whose memory is bounded and comes back whatever happens in it."""

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any


def forked(work: Callable[[], dict[str, Any]], memory: int) -> dict[str, Any]:
    """What some work gives, done in a fork of this process: what is imported already need not be imported again.

    It is no process of `multiprocessing`, in which torchlens refuses to log.

    Args:
        work: gives what JSON can say.
        memory: bytes that it may take beside what this process has.

    Returns:
        What it gave, or an ``error`` where the process ended without giving anything.
    """
    here, there = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.close(here)
            _bound(memory)
            text = json.dumps(work())
            with os.fdopen(there, "w") as file:
                file.write(text)
            code = 0
        finally:
            os._exit(code)
    os.close(there)
    with os.fdopen(here) as file:
        said = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    answer: dict[str, Any] = json.loads(said) if code == 0 else {"error": f"its process ended with {code}"}
    return answer


def _bound(memory: int) -> None:
    """Let this process have so many bytes beside those that it has."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    bound = int(status["VmData"].split()[0]) * 1024 + memory
    resource.setrlimit(resource.RLIMIT_DATA, (bound, resource.getrlimit(resource.RLIMIT_DATA)[1]))
