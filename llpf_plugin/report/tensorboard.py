"""Watching a long run in TensorBoard: a callback for `find_path`."""

import math
from pathlib import Path
from typing import Any

from llpf_plugin.errors import LLPFError
from llpf_plugin.records import Tick
from llpf_plugin.search.progress import Callback, Searching

LEFT_OUT = ("tick", "gradient_steps", "stretch")
"""Numbers of a tick that are places, not values."""


class TensorBoard(Callback):
    """Writes every number of every tick against gradient steps, and the dense path once it is measured.

    Args:
        folder: for the event files; ``tensorboard --logdir`` takes it.

    Raises:
        LLPFError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise LLPFError("watching a run needs tensorboard: pip install 'llpf-plugin[tensorboard]'") from error
        self._open: Any = lambda purge: SummaryWriter(str(folder), purge_step=purge)
        self._writer: Any = None

    def on_start(self, search: Searching) -> None:
        """Open the file; a resumed run hides what came after the state that it resumes from."""
        self._writer = self._open(search.workspace.steps or None)
        words = f"goal: training loss ≤ {search.goal.loss:.4g}; the worse end has {search.goal.ends:.4g}"
        self._writer.add_text("goal", words, search.workspace.steps)
        self._writer.flush()

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """The numbers of a tick, such as distance to go, share, and losses."""
        if self._writer is None:
            return
        for name, value in tick.to_json().items():
            number = isinstance(value, int | float) and name not in LEFT_OUT
            if number and math.isfinite(value):
                self._writer.add_scalar(f"search/{name}", value, search.workspace.steps)
        self._writer.flush()

    def on_end(self, search: Searching) -> None:
        """The dense path: losses and accuracies against a thousandth of the path."""
        if self._writer is None:
            return
        for row in search.rows:
            for name in ("train", "train_accuracy", "validation", "validation_accuracy"):
                if row[name] is not None and math.isfinite(row[name]):
                    self._writer.add_scalar(f"path/{name}", row[name], round(1000 * row.t))
        self._writer.close()
