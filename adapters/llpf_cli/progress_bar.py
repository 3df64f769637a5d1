"""What the user sees while a search runs, and how Ctrl-C stops it."""

import signal
import time
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from llpf_plugin.ranks import any_rank
from llpf_plugin.records import Tick
from llpf_plugin.search import Callback, Searching

QUIET = 10.0
"""Seconds between two lines where the output is not a terminal."""


class LiveView(Callback):
    """Phase, tick, loss, distance to go, gradient steps and time left; plain lines where there is no terminal.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}", style="bold", markup=False), BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[words]}"), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self.bar.add_task("measuring the ends", total=1.0, words="")
        self._gaps: dict[tuple[int, str], float] = {}
        self._spoken = time.monotonic()

    def __enter__(self) -> "LiveView":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def on_start(self, search: Searching) -> None:
        """Say what the goal is."""
        goal = search.goal
        self.console.print(
            f"goal: training loss ≤ {goal.loss:.4g} (the worse end has {goal.ends:.4g})", highlight=False
        )
        for tick in search.progress.record:
            self._gaps.setdefault((tick.stretch, tick.phase), tick.gap)

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """The distance that the phase has covered, and the numbers of the tick."""
        gap = self._gaps.setdefault((tick.stretch, tick.phase), tick.gap)
        name = tick.leg or f"phase {tick.phase}"
        if tick.stretch > 0:
            name = f"repair {tick.stretch}"
        loss = tick.settled_loss if tick.kept else tick.first_loss
        words = (
            f"tick {tick.tick + 1}  loss {loss:.3g}{'' if tick.kept else ' (rejected)'}  "
            f"to go {tick.gap:.3g}  steps {tick.gradient_steps}/{search.workspace.budget}"
        )
        self._show(name, 1 - tick.gap / gap if gap else 1.0, words)

    def on_measure(self, search: Searching, done: int, total: int) -> None:
        """How much of the path has been measured."""
        self._show("measuring", done / total, f"segment {done}/{total}")

    def _show(self, name: str, part: float, words: str) -> None:
        if self.bar.tasks[0].description != name:
            self.bar.reset(self._task, description=name, total=1.0, words=words)
        self.bar.update(self._task, completed=min(1.0, max(0.0, part)), words=words)
        now = time.monotonic()
        if not self.console.is_terminal and now - self._spoken >= QUIET:
            self._spoken = now
            self.console.print(f"{name}: {part:.0%}  {words}", markup=False, highlight=False)


class StopOnCtrlC(Callback):
    """The first Ctrl-C stops the search after its tick, with everything saved; the second stops at once.

    Of several ranks all stop after the same tick, whichever of them hears it first.
    """

    def __init__(self) -> None:
        self._begun, self._asked = False, False
        self._before: Any = None

    def __enter__(self) -> "StopOnCtrlC":
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def on_start(self, search: Searching) -> None:
        """From now on there is something to save."""
        self._begun = True

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """Stop if that was asked for."""
        search.stop = search.stop or any_rank(self._asked)

    def on_measure(self, search: Searching, done: int, total: int) -> None:
        """Stop if that was asked for."""
        search.stop = search.stop or any_rank(self._asked)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._begun or self._asked:
            raise KeyboardInterrupt
        self._asked = True
