"""Measure a path coarse to fine: every place on a drawn sample, then on all data those that may hold the maximum.

The bound on a place comes from the sample's own spread. Losses are compared part by part of the sample with those of a
place that was measured on all data, so that what makes examples easy or hard everywhere falls out of the difference.
A place that is likely no higher, and still might be, is looked at on larger samples first, up to all data.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from llpf_plugin.evaluation.answers import Score, mean
from llpf_plugin.evaluation.point import STATISTICS, glance, measure_point, row_of, score
from llpf_plugin.geometry.weights import Weights, lerp
from llpf_plugin.records import Row
from llpf_plugin.workspace import Workspace

LOOK, PARTS = 256, 8
"""Training examples that every place is looked at with, and the equal parts of them that their spread comes from."""

GROWTH = 4
"""How much larger the sample of the next look at the same place is; all data follow where they are hardly more."""

VALIDATION_LOOK = 128
"""Validation examples of a look."""

CLOSE = 0.02
"""No place that is left may lie above the stated maximum by more than this part of it."""

SPREAD = 2.0
"""Standard errors of the mean that a bound lies above the estimate."""


@dataclass(frozen=True)
class Effort:
    """How thoroughly a path is measured.

    Attributes:
        points: sub-segments of every segment.
        sample: training examples that the path is judged by, None for all.
        exact: measure every place on all of them.
    """

    points: int = 4
    sample: int | None = None
    exact: bool = False

    def coarse(self, count: int, size: int = LOOK) -> bool:
        """Whether a look at ``size`` of ``count`` training examples saves anything."""
        return not self.exact and min(count, self.sample or count) > 2 * size

    @property
    def statistics(self) -> int | None:
        """Training examples that running statistics are re-estimated on at a place of the path."""
        return self.sample if self.exact else min(STATISTICS, self.sample or STATISTICS)


@dataclass(frozen=True)
class Place:
    """A place to be measured: its name, its segment, and where in it (``u`` in [0, 1])."""

    name: str
    segment: int
    u: float


def places(chain: Sequence[int], points: int) -> list[Place]:
    """The knots of a path, named by identifier, and ``points − 1`` places between neighbours, in order."""
    found = [Place(f"{chain[0]}", 0, 0.0)]
    for segment, (i, j) in enumerate(pairwise(chain)):
        found += [Place(f"{i}-{j}:{k}/{points}", segment, k / points) for k in range(1, points)]
        found.append(Place(f"{j}", segment, 1.0))
    return found


def ends_of_path(ends: Mapping[str, Row], last: int = 1) -> dict[str, Row]:
    """The rows of A's knot and, where the path ends in B, of B's, whose identifier is ``last``."""
    rows = {"0": ends["A"], **({str(last): ends["B"]} if "B" in ends else {})}
    return {name: replace(row, test=None, test_accuracy=None) for name, row in rows.items()}


class Along:
    """Coordinates at places of a path, from its knots, of which few are read at a time."""

    def __init__(self, knots: Sequence[Weights]) -> None:
        self.knots, self._read = knots, dict[int, Weights]()

    def __call__(self, place: Place) -> Weights:
        """The point at a place."""
        if place.u in (0, 1):
            return self._knot(place.segment + int(place.u))
        return lerp(self._knot(place.segment), self._knot(place.segment + 1), place.u)

    def _knot(self, i: int) -> Weights:
        if i not in self._read:
            self._read = {j: knot for j, knot in self._read.items() if abs(j - i) == 1}
            self._read[i] = self.knots[i]
        return self._read[i]


class Survey:
    """The measurement of one path.

    Args:
        workspace: whose model is used.
        weights: coordinates at a place.
        rows: what is known, by name of place; filled in.
        effort: how thoroughly.
        goal: the training loss that the path is to stay under, if any.
    """

    def __init__(
        self, workspace: Workspace, weights: Callable[[Place], Weights], rows: dict[str, Row], effort: Effort,
        goal: float | None = None,
    ) -> None:  # fmt: skip
        self.workspace, self.weights, self.rows, self.effort, self.goal = workspace, weights, rows, effort, goal

    def run(self, places: Sequence[Place], tell: Callable[[int, int], None] = lambda done, total: None) -> list[Row]:
        """The rows of all places, in order.

        Args:
            places: all of the path.
            tell: called with the number of segments looked at and of all.
        """
        for place in places:
            if place.name not in self.rows:
                self.rows[place.name] = self._look(place)
            if place.u == 1:
                tell(place.segment + 1, places[-1].segment + 1)
        while (found := self._contender(places)) is not None:
            place, surely = found
            size = GROWTH * (self.rows[place.name].sample or 0)
            if surely or not self.effort.coarse(len(self.workspace.task.train), size):
                self._confirm(place)
            else:
                self._see(place, size)
                self.rows[place.name] = replace(self.rows[place.name], sample=size)
        return self._estimated(places)

    def _look(self, place: Place) -> Row:
        """A place on the smallest sample; on all data where these are hardly more."""
        workspace, weights, task = self.workspace, self.weights(place), self.workspace.task
        if not self.effort.coarse(len(task.train)):
            return measure_point(workspace, weights, self.effort.sample, statistics=self.effort.statistics)
        scores, parts = self._glance(weights, LOOK)
        found = {"train": scores}
        if task.validation is not None:
            found["validation"] = score(workspace, task.validation, VALIDATION_LOOK)
        return row_of(found, sample=LOOK, parts={str(LOOK): parts})

    def _glance(self, weights: Weights, size: int) -> tuple[Score, tuple[float, ...]]:
        """The loss on a sample, and on its parts."""
        answers = glance(self.workspace, weights, size, min(size // PARTS, self.workspace.eval_batch))
        bounds = np.linspace(0, len(answers), min(PARTS, len(answers)) + 1).astype(int).tolist()
        return mean(answers), tuple(mean(answers[i:j]).loss for i, j in pairwise(bounds))

    def _see(self, place: Place, size: int) -> None:
        """Note the loss of a place on the parts of a sample of this size."""
        seen = self.rows[place.name]
        if str(size) not in seen.parts:
            _, parts = self._glance(self.weights(place), size)
            self.rows[place.name] = replace(seen, parts={**seen.parts, str(size): parts})

    def _confirm(self, place: Place) -> None:
        """Measure a place that was looked at on all data."""
        sample, statistics = self.effort.sample, self.effort.statistics
        found = measure_point(self.workspace, self.weights(place), sample, ("train",), statistics)
        seen = self.rows[place.name]
        self.rows[place.name] = replace(seen, train=found.train, train_accuracy=found.train_accuracy, sample=None)

    def _contender(self, places: Sequence[Place]) -> tuple[Place, bool] | None:
        """The place that may be highest, and whether it surely is higher than those measured on all data.

        None once no place left could change the maximum or the verdict.
        """
        left = [place for place in places if self.rows[place.name].sample is not None]
        if not left:
            return None
        highest, base = self._highest(places), self._base(places, {self.rows[p.name].sample or 0 for p in left})
        estimates = {place: self._estimate(self.rows[place.name], base) for place in left}
        place = max(left, key=lambda p: estimates[p][0] + SPREAD * estimates[p][1])
        estimate, error = estimates[place]
        if highest == -math.inf:
            return place, True
        slack = highest + CLOSE * abs(highest)
        if self.goal is not None and highest <= self.goal:
            slack = min(slack, self.goal)
        return (place, estimate - SPREAD * error > highest) if estimate + SPREAD * error > slack else None

    def _highest(self, places: Sequence[Place]) -> float:
        """The maximum where all data were seen; a loss that is not a number counts as infinite."""
        rows = [self.rows[place.name] for place in places]
        known = [row.train for row in rows if row.sample is None and row.train is not None]
        return max((math.inf if math.isnan(loss) else loss for loss in known), default=-math.inf)

    def _base(self, places: Sequence[Place], sizes: Collection[int]) -> Row | None:
        """The highest place that was measured on all data, looked at on samples of these sizes as well.

        All others are compared with it, not with whatever is most like them, whose spread would be chosen for being
        small.
        """
        known = [p for p in places if self.rows[p.name].sample is None and _finite(self.rows[p.name])]
        if not known:
            return None
        highest = max(known, key=lambda p: self.rows[p.name].train or 0.0)
        for size in sorted(sizes):
            self._see(highest, size)
        return self.rows[highest.name]

    def _estimate(self, row: Row, base: Row | None) -> tuple[float, float]:
        """A place's loss on all data, and its standard error, by the difference to a place that was measured on them.

        Infinite where the sample has no loss or no spread.
        """
        size = row.sample or 0
        count = min(len(self.workspace.task.train), self.effort.sample or math.inf)
        unseen, known = math.sqrt(max(0.0, 1 - size / count)), 0.0
        parts = np.array(row.parts.get(str(size), ()))
        if base is not None and np.isfinite(base.parts[str(size)]).all():
            parts, known = parts - np.array(base.parts[str(size)]), base.train or 0.0
        if len(parts) < 2 or not np.isfinite(parts).all():  # one part has no spread
            return math.inf, 0.0
        return known + float(parts.mean()), unseen * float(parts.std(ddof=1)) / math.sqrt(len(parts))

    def _estimated(self, places: Sequence[Place]) -> list[Row]:
        """The rows; where only the sample was seen, with the loss that follows, not above what was measured."""
        sizes = {row.sample for place in places if (row := self.rows[place.name]).sample is not None}
        highest, base, rows = self._highest(places), self._base(places, sizes), []
        for place in places:
            row = self.rows[place.name]
            if row.sample is not None:
                floor = min(0.0, *row.parts[str(row.sample)])
                row = replace(row, train=min(highest, max(floor, self._estimate(row, base)[0])))
            rows.append(replace(row, u=place.u, segment=place.segment, parts={}))
        return rows


def _finite(row: Row) -> bool:
    return row.train is not None and math.isfinite(row.train)


def choose_by_validation(workspace: Workspace, candidates: Sequence[Weights]) -> int:
    """Which of some points is best on all validation data: accuracy, then loss."""
    ranks = []
    for weights in candidates:
        glance(workspace, weights, LOOK, LOOK)
        assert workspace.task.validation is not None
        found = score(workspace, workspace.task.validation)
        ranks.append((-(found.accuracy or 0.0), found.loss))
    return min(range(len(ranks)), key=lambda i: ranks[i])
