"""Tables of the frontier that `peers.py` measures: steps to a level, and how many times another method's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from shared import confidence, table


@dataclass(frozen=True)
class Run:
    """One path.

    Attributes:
        asked: gradient steps that it was given, or the goal of a walk.
        steps: gradient steps that it took.
        maximum: the dense maximum of the training loss.
        ratio: the path's length over the straight line's.
        seconds: of the search, dense measurement included.
    """

    pair: int
    method: str
    asked: float
    steps: int
    maximum: float
    ratio: float
    seconds: float


def reached(runs: Sequence[Run], pair: int, method: str, level: float) -> Run | None:
    """The cheapest run of a method on a pair that is under a level."""
    good = [r for r in runs if (r.pair, r.method) == (pair, method) and r.maximum <= level]
    return min(good, key=lambda r: r.steps, default=None)


def whole(runs: Sequence[Run]) -> list[int]:
    """The pairs on which every method was run."""
    methods = {r.method for r in runs}
    return [p for p in sorted({r.pair for r in runs}) if {r.method for r in runs if r.pair == p} == methods]


def summary(runs: Sequence[Run], levels: Sequence[float]) -> str:
    """Median steps and length ratios a level, and how many pairs reached it."""
    pairs = whole(runs)
    rows = []
    for method in dict.fromkeys(r.method for r in runs):
        cells = []
        for level in levels:
            good = [r for p in pairs if (r := reached(runs, p, method, level))]
            if not good:
                cells.append(f"– (0/{len(pairs)})")
                continue
            steps = [r.steps for r in good] + [math.inf] * (len(pairs) - len(good))
            middle = f"{median(steps):.0f}" if math.isfinite(median(steps)) else "–"
            cells.append(f"{middle} ({len(good)}/{len(pairs)}), {median(r.ratio for r in good):.2f}")
        own = [r for r in runs if r.method == method and r.pair in pairs]
        per_step = sum(r.seconds for r in own) / max(1, sum(r.steps for r in own))
        rows.append((method, *cells, f"{1000 * per_step:.0f} ms"))
    return table(("method", *(f"≤ {level:g}" for level in levels), "CPU time a step, all in"), rows)


def paired(runs: Sequence[Run], ours: str, levels: Sequence[float]) -> str:
    """How many times the steps of ``ours`` every other method needs, over the pairs on which both reach the level."""
    rows = []
    for method in dict.fromkeys(r.method for r in runs if r.method != ours):
        cells = []
        for level in levels:
            both = [(reached(runs, p, ours, level), reached(runs, p, method, level)) for p in whole(runs)]
            cells.append(interval([math.log(y.steps / x.steps) for x, y in both if x and y]))
        rows.append((method, *cells))
    return table((f"steps over those of {ours}", *(f"≤ {level:g}" for level in levels)), rows)


def interval(logs: Sequence[float]) -> str:
    """The geometric mean with its 95 % interval (Student's t on the logarithms)."""
    if len(logs) < 2:
        return "–" if not logs else f"{math.exp(logs[0]):.2f} (1 pair)"
    low, middle, high = (math.exp(value) for value in confidence(logs))
    return f"{middle:.2f} [{low:.2f}, {high:.2f}], {len(logs)} pairs"
