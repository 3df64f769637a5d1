"""A task of which one rank meets something: once its objective was called ``FELL_AT`` times, on rank ``FELL_RANK``."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import tiny
from llpf_plugin import LoaderData, Task, classification

TASK = f"{__file__}:mlp"
LOADED = f"{__file__}:loaded"


def _raise() -> None:
    raise MemoryError("no more")


WHAT: Mapping[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "interrupt": lambda: signal.raise_signal(signal.SIGINT),
    "raise": _raise,
}
"""What is met, by the name that ``FELL_BY`` has."""


def mlp() -> Task:
    """The tiny MLP; without ``FELL_AT`` in the environment nothing happens."""
    left = int(os.environ.get("FELL_AT", "0")) if os.environ.get("FELL_RANK") == os.environ.get("RANK") else 0

    def objective(model: Any, batch: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            WHAT[os.environ["FELL_BY"]]()
        return classification(model, batch)

    return replace(tiny.mlp(), objective=objective)


def loaded() -> Task:
    """The same with loaders, whose order every process draws for itself."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(os.getpid())
    task, given = tiny.mlp(), {}
    for split in ("train", "validation", "test"):
        data = getattr(task, split)
        given[split] = LoaderData(DataLoader(TensorDataset(data.inputs, data.targets), 32, shuffle=split == "train"))
    return replace(task, **given)
