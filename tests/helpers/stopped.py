"""A task that Ctrl-C stops: as `tiny.mlp`, but once its objective was called ``STOP_AT`` times the signal comes."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import tiny
from llpf_plugin import Task, classification

TASK = f"{__file__}:mlp"


def mlp() -> Task:
    """The task; without ``STOP_AT`` in the environment nothing stops it."""
    left = int(os.environ.get("STOP_AT", "0"))

    def objective(model, batch):  # type: ignore[no-untyped-def]
        nonlocal left
        left -= 1
        if left == 0:
            signal.raise_signal(signal.SIGINT)
        return classification(model, batch)

    return replace(tiny.mlp(), objective=objective)
