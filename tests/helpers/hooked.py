"""Runs a console script that is killed, or held, at one of its file operations.

``hooked.py die:replace:1:before llpf-merge …`` is killed when it first gives a file its name, ``die:replace:1:after``
once it has; ``hold:mkdir:1:PLACE`` writes ``PLACE-<process id>`` before it first makes a folder, and goes on when
``PLACE`` exists. Only the folder after ``-o`` and what is in it count.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from scripts import run

HELD = 20.0
"""Seconds after which a held process goes on all the same."""


def main() -> None:
    """Hook the operation and run the script."""
    what, operation, when, more = sys.argv[1].split(":")
    command, words = sys.argv[2], sys.argv[3:]
    folder = str(Path(words[words.index("-o") + 1]).resolve())
    done, count = getattr(os, operation), 0

    def hooked(*arguments: Any, **options: Any) -> None:
        nonlocal count
        inside = str(arguments[0 if operation == "mkdir" else 1]).startswith(folder)
        count += inside
        due = inside and count == int(when)
        if due and what == "hold":
            hold(Path(more))
        if due and (what, more) == ("die", "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        done(*arguments, **options)
        if due and (what, more) == ("die", "after"):
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, operation, hooked)
    sys.argv = [command, *words]
    sys.exit(run(command))  # type: ignore[arg-type]


def hold(place: Path) -> None:
    """Say that this process is here, and wait."""
    place.with_name(f"{place.name}-{os.getpid()}").touch()
    until = time.monotonic() + HELD
    while not place.exists() and time.monotonic() < until:
        time.sleep(0.02)


if __name__ == "__main__":
    main()
