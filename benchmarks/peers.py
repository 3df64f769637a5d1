"""The frontier: gradient steps that each method needs until the dense path lies under 0.2, 0.1, 0.05, 0.02.

Pair ``i`` are the networks trained from seeds ``2i`` and ``2i + 1``, as in ``connect.py``. Every path is measured in the
same way: at least 41 points, the whole training set, BatchNorm statistics re-estimated at each point. LLPF is run once
for every level, with the level as its goal, and needs the steps that it needs. The others are run with 16, 23, 32, 45,
64, … gradient steps, afresh each time, until one run is under the level: their numbers are the steps of that run.

    python benchmarks/peers.py --task digits/resnet
    python benchmarks/peers.py --task digits/resnet --tune
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from connect import endpoint
from shared import machine, table

from llpf_plugin import Compute, LLPFError, Settings, Task, find_path, load_task
from llpf_plugin.dense import linear_losses
from llpf_plugin.files import write_json
from llpf_plugin.gradient import Gradient
from llpf_plugin.weights import Weights

LEVELS = (0.2, 0.1, 0.05, 0.02)
"""Dense maxima of the training loss to reach."""

TASKS: Mapping[str, tuple[dict[str, Any], int, int]] = {
    "digits/resnet": ({}, 10, 800),
    "mnist/lenet5": ({"subset": 4000}, 3, 1600),
    "cifar10/resnet8": ({"subset": 4000}, 3, 3200),
}
"""By task: arguments of its factory, pairs, and the most gradient steps of one run."""

METHODS: Mapping[str, Mapping[str, Any]] = {
    "llpf": {"method": "llpf"},
    "llpf, then polish": {"method": "llpf", "polish": True},
    "sphere curve": {"method": "sphere-curve"},
    "sphere curve, Adam": {"method": "sphere-curve", "optimizer": "adam"},
    "sphere curve, 3 points": {"method": "sphere-curve", "control": 3},
    "Bezier (FGE)": {"method": "bezier"},
    "Bezier, Adam": {"method": "bezier", "optimizer": "adam"},
    "AutoNEB": {"method": "autoneb"},
}
"""What each method asks of `find_path`; the straight line reaches no level and is printed beside."""

RATES = (0.5, 1.0, 2.0, 4.0)
"""Factors on a method's own learning rate that ``--tune`` tries."""

TUNED = (50, 200)
"""Gradient steps of the runs that ``--tune`` makes."""


@dataclass(frozen=True)
class Run:
    """One path.

    Attributes:
        asked: gradient steps that it was given, or the level that it was to reach (LLPF).
        steps: gradient steps that it took.
        maximum: the dense maximum of the training loss.
        ratio: the path's length over the straight line's.
        seconds: of the search, without the dense measurement of a curve.
    """

    pair: int
    method: str
    asked: float
    steps: int
    maximum: float
    ratio: float
    seconds: float


def run(task: Task, a: Weights, b: Weights, pair: int, method: str, asked: float, most: int, **options: Any) -> Run:
    """One search; LLPF is asked for a level, the others for gradient steps."""
    words = dict(METHODS[method])
    if words["method"] == "llpf":
        polish = words.pop("polish", False)
        # Polishing takes over where a coarse walk ends: the walk is asked for twice the level.
        goal = 2 * asked if polish else asked
        settings = Settings(max_loss=goal, budget=most, **words, **options)
    else:
        settings = Settings(tolerance=1e9, steps=int(asked), points=2, **words, **options)
    began = time.perf_counter()
    path = find_path(a, b, task, settings, compute=Compute("cpu"))
    seconds = time.perf_counter() - began
    return Run(pair, method, asked, path.cost["gradient_steps"], path.quality.maximum, path.length_ratio, seconds)


def grid(most: int) -> Iterator[int]:
    """16, 23, 32, 45, 64, … gradient steps."""
    i = 8
    while (steps := round(2 ** (i / 2))) <= most:
        yield steps
        i += 1


def frontier(task: Task, a: Weights, b: Weights, pair: int, method: str, most: int) -> Iterator[Run]:
    """Every run that the frontier of a method on a pair needs."""
    if METHODS[method]["method"] == "llpf":
        for level in LEVELS:
            try:
                yield run(task, a, b, pair, method, level, most)
            except LLPFError as error:  # a level below the loss of an end
                print(f"pair {pair}, {method}, {level}: {error}", flush=True)
        return
    for steps in grid(most):
        one = run(task, a, b, pair, method, steps, most)
        yield one
        if one.maximum <= LEVELS[-1]:
            return


if __name__ == "__main__":
    pass
