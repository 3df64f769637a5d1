"""What the user sees while a search runs, and how Ctrl-C stops it."""

import signal
import time
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from llpf_plugin.search.find import Search
from llpf_plugin.search.progress import Callback

QUIET = 10.0
"""Seconds between two lines where the output is no terminal."""


class LiveView(Callback):
    """Phase, tick, loss, distance to go, gradient steps and time left; plain lines where there is no terminal.

    Args:
        console: where to draw.
        budget: gradient steps that may be spent.
    """

    def __init__(self, console: Console, budget: int) -> None:
        self.console, self.budget = console, budget
        self.bar = Progress(
            TextColumn("[bold]{task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[words]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
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

    def on_start(self, search: Search) -> None:
        """Say what the goal is."""
        levels = search.levels
        self.console.print(
            f"goal: training loss ≤ {levels.goal:.4g} (the worse end has {levels.ends:.4g})", highlight=False
        )
        for report in search.progress.record:
            self._gaps.setdefault((report["stretch"], report["phase"]), report["gap"])

    def on_tick(self, search: Search, report: Mapping[str, Any]) -> None:
        """The distance that the phase has covered, and the numbers of the tick."""
        gap = self._gaps.setdefault((report["stretch"], report["phase"]), report["gap"])
        name = (
            report.get("leg") or f"phase {report['phase']}"
            if report["stretch"] == 0
            else f"repair {report['stretch']}, {report['phase']}"
        )
        loss = report["settled_loss"] if report["kept"] else report["first_loss"]
        words = (
            f"tick {report['tick'] + 1}  loss {loss:.3f}{'' if report['kept'] else ' (undone)'}  "
            f"to go {report['gap']:.2f}  steps {report['gradient_steps']}/{self.budget}"
        )
        self._show(name, 1 - report["gap"] / gap if gap else 1.0, words)

    def on_measure(self, search: Search, done: int, total: int) -> None:
        """How much of the dense path has been measured."""
        self._show("measuring", done / total, f"segment {done}/{total}")

    def _show(self, name: str, part: float, words: str) -> None:
        if self.bar.tasks[0].description != name:
            self.bar.reset(self._task, description=name, total=1.0, words=words)
        self.bar.update(self._task, completed=min(1.0, max(0.0, part)), words=words)
        now = time.monotonic()
        if not self.console.is_terminal and now - self._spoken >= QUIET:
            self._spoken = now
            self.console.print(f"{name}: {part:.0%}  {words}", highlight=False)


class StopOnCtrlC(Callback):
    """The first Ctrl-C stops the search after its tick, with everything saved; the second stops at once."""

    def __init__(self) -> None:
        self.search: Search | None = None
        self._before: Any = None

    def __enter__(self) -> "StopOnCtrlC":
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def on_start(self, search: Search) -> None:
        """Note whom to stop."""
        self.search = search

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.search is None or self.search.stop:
            raise KeyboardInterrupt
        self.search.stop = True
