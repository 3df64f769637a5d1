"""Searches on the tiny tasks, and what tests hang into them."""

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from torch import Tensor, nn

from helpers import tiny
from llpf_plugin import LLPF, Method, Path, Task, find_path
from llpf_plugin.geometry import MemoryKnots, clone
from llpf_plugin.records import Tick
from llpf_plugin.search import Callback, Search

COARSE = LLPF(share=0.2, threshold=0.3, reject_above=3.0)
GOALS = {"mlp": 0.04, "conv": 0.005}
"""With these the walk is too coarse, and repairs are needed."""


def found(name: str, method: Method | str = "llpf", task: Task | None = None, **options: Any) -> Path:
    """The path between the two trained networks of a tiny task."""
    return find_path(*tiny.pair(name), task or tiny.TASKS[name](), method, **options)


def coarse(name: str, repairs: int = 3, **options: Any) -> Path:
    """The same at the task's rate, with steps that are too coarse for the goal, so that repairs are needed."""
    options = {"lr": tiny.TASKS[name]().defaults.lr, **options}
    return found(name, replace(COARSE, repairs=repairs), max_loss=GOALS[name], **options)


def same_path(one: Path, other: Path) -> bool:
    """Whether two searches found the same bits, and tell the same of it."""
    knots = len(one.knots) == len(other.knots)
    knots = knots and all(tiny.same(x, y) for x, y in zip(one.knots, other.knots, strict=True))
    told = [
        (p.labels, repr(p.record), p.outcome, replace(p.cost, seconds=0.0, spent={}, peak_memory=0), p.quality.rows)
        for p in (one, other)
    ]  # records as text: a loss that was not taken is not a number, and no number equals it
    return knots and told[0] == told[1]


def schedule(folder: FilePath, parts: int, steps: int = 2, extra: str = "", ticks: int | None = None) -> str:
    """A schedule file that goes an even part of the way in every tick, all of it unless ``ticks`` says fewer."""
    place = folder / "schedule.yaml"
    settle = f"{{threshold: 0.0, min_steps: {steps}, max_steps: {steps}, lr: 0.05, momentum: 0}}"
    place.write_text(f"settle: {settle}\nphases:\n  - {{ticks: {ticks or parts}, step_f: {1 / parts}}}\n{extra}")
    return str(place)


def nan_after(task: Task, calls: int) -> Task:
    """Mini-batch losses are NaN from the ``calls``-th on, 8 calls measure the ends; evaluation continues as before.

    Three calls before these look at the model: one for gradients, and one of each end.
    """
    seen = 0

    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal seen
        loss, correct = task.objective(model, batch)  # type: ignore[misc]
        seen += model.training
        return (loss * math.nan if model.training and seen > 3 + calls else loss), correct

    return replace(task, objective=objective)


Snapshot = tuple[str, dict[str, Tensor], MemoryKnots]
"""Progress as JSON, the solver's tensors, and the knots as they were."""


def snapshot(search: Search) -> Snapshot:
    """All that a resumed search needs, as it would lie on a disk."""
    values, tensors = search.snapshot()
    return json.dumps(values), clone(tensors), copy.deepcopy(search.knots)  # type: ignore[return-value]


def resuming(taken: Snapshot) -> Mapping[str, Any]:
    """The options that resume from a snapshot, any number of times."""
    values, tensors, knots = taken
    return {"knots": copy.deepcopy(knots), "resume": (json.loads(values), tensors)}


class Recorder(Callback):
    """Writes down what it is told; takes a snapshot at the events asked for, and with ``stop`` stops there."""

    def __init__(self, *at: int, stop: bool = False) -> None:
        self.at, self.stop = at, stop
        self.events: list[str] = []
        self.taken: dict[int, Snapshot] = {}

    def _event(self, search: Any, name: str) -> None:
        if len(self.events) in self.at:
            self.taken[len(self.events)] = snapshot(search)
            search.stop = self.stop
        self.events.append(name)

    def on_start(self, search: Any) -> None:
        """Begun."""
        self._event(search, "start")

    def on_tick(self, search: Any, tick: Tick) -> None:
        """Walked."""
        self._event(search, f"tick of stretch {tick.stretch}")

    def on_measure(self, search: Any, done: int, total: int) -> None:
        """Measured."""
        self._event(search, f"measure in round {search.progress.round}")

    def on_end(self, search: Any) -> None:
        """Done."""
        self._event(search, "end")
