"""Measure a path coarse to fine: every place on a drawn sample, then on all data those that may hold the maximum.

The bound on a place comes from the sample's own spread. Losses are compared part by part of the sample with those of a
place that was measured on all data, so that what makes examples easy or hard everywhere falls out of the difference.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from llpf_plugin.evaluation.answers import mean
from llpf_plugin.evaluation.point import STATISTICS, glance, measure_point, row_of, score
from llpf_plugin.geometry.weights import Weights, lerp
from llpf_plugin.records import Row
from llpf_plugin.workspace import Workspace

LOOK, PARTS = 256, 8
"""Training examples that every place is looked at with, and the equal parts of them that their spread comes from."""

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

    def coarse(self, count: int) -> bool:
        """Whether a look at one of ``count`` training examples saves anything."""
        return not self.exact and min(count, self.sample or count) > 2 * LOOK

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


def ends_of_path(ends: Mapping[str, Row]) -> dict[str, Row]:
    """The rows of A's knot and, where the path ends in B, of B's."""
    rows = {"0": ends["A"], **({"1": ends["B"]} if "B" in ends else {})}
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
        while (contender := self._contender(places)) is not None:
            self.rows[contender.name] = self._confirmed(contender)
        return self._estimated(places)

    def _look(self, place: Place) -> Row:
        """A place on the sample; on all data where these are hardly more."""
        workspace, weights, task = self.workspace, self.weights(place), self.workspace.task
        if not self.effort.coarse(len(task.train)):
            return measure_point(workspace, weights, self.effort.sample, statistics=self.effort.statistics)
        answers = glance(workspace, weights, LOOK, LOOK // PARTS)
        scores = {"train": mean(answers)}
        if task.validation is not None:
            scores["validation"] = score(workspace, task.validation, VALIDATION_LOOK)
        parts = tuple(float(answer.loss) for answer in answers)
        return row_of(scores, sample=LOOK, parts=parts)

    def _confirmed(self, place: Place) -> Row:
        """A place that was looked at, on all data."""
        sample, statistics = self.effort.sample, self.effort.statistics
        found = measure_point(self.workspace, self.weights(place), sample, ("train",), statistics)
        seen = self.rows[place.name]
        return replace(seen, train=found.train, train_accuracy=found.train_accuracy, sample=None)

    def _contender(self, places: Sequence[Place]) -> Place | None:
        """The place that may be highest, None once no place left could change the maximum or the verdict."""
        rows = [self.rows[place.name] for place in places]
        left = [i for i, row in enumerate(rows) if row.sample is not None]
        if not left:
            return None
        highest, bounds = self._highest(rows), self._bounds(rows, left)
        i = max(left, key=lambda i: bounds[i])
        if highest == -math.inf:
            return places[i]
        slack = highest + CLOSE * abs(highest)
        if self.goal is not None and highest <= self.goal:
            slack = min(slack, self.goal)
        return places[i] if bounds[i] > slack else None

    @staticmethod
    def _highest(rows: Sequence[Row]) -> float:
        """The maximum where all data were seen; a loss that is not a number counts as infinite."""
        known = [row.train for row in rows if row.sample is None and row.train is not None]
        return max((math.inf if math.isnan(loss) else loss for loss in known), default=-math.inf)

    def _bounds(self, rows: Sequence[Row], left: Sequence[int]) -> dict[int, float]:
        """What the loss of a place hardly exceeds; infinite where the sample has no loss or no spread."""
        return {i: estimate + SPREAD * error for i, (estimate, error) in self._estimates(rows, left).items()}

    def _estimates(self, rows: Sequence[Row], left: Sequence[int]) -> dict[int, tuple[float, float]]:
        """The loss of places on all data, and its standard error, by the difference to the best known place."""
        known = [row for row in rows if row.sample is None and row.parts and _finite(row)]
        count = min(len(self.workspace.task.train), self.effort.sample or math.inf)
        unseen = math.sqrt(max(0.0, 1 - LOOK / count))
        found = {}
        for i in left:
            parts = np.array(rows[i].parts)
            if len(parts) < 2 or not np.isfinite(parts).all():  # one part has no spread
                found[i] = (math.inf, 0.0)
                continue
            differences = [parts - np.array(row.parts) for row in known] or [parts]
            errors = [unseen * float(d.std(ddof=1)) / math.sqrt(len(d)) for d in differences]
            best = int(np.argmin(errors))
            base = known[best].train if known else 0.0
            found[i] = (float(base or 0.0) + float(differences[best].mean()), errors[best])
        return found

    def _estimated(self, places: Sequence[Place]) -> list[Row]:
        """The rows; where only the sample was seen, with the loss that follows, not above what was measured."""
        rows = [self.rows[place.name] for place in places]
        left = [i for i, row in enumerate(rows) if row.sample is not None]
        highest, estimates = self._highest(rows), self._estimates(rows, left)
        for i in left:
            floor = min(0.0, min(rows[i].parts))
            rows[i] = replace(rows[i], train=min(highest, max(floor, estimates[i][0])))
        return [replace(row, u=p.u, segment=p.segment, parts=()) for p, row in zip(places, rows, strict=True)]


def _finite(row: Row) -> bool:
    return row.train is not None and all(math.isfinite(loss) for loss in (*row.parts, row.train))


def choose_by_validation(workspace: Workspace, candidates: Sequence[Weights]) -> int:
    """Which of some points is best on all validation data: accuracy, then loss."""
    ranks = []
    for weights in candidates:
        glance(workspace, weights, LOOK, LOOK)
        assert workspace.task.validation is not None
        found = score(workspace, workspace.task.validation)
        ranks.append((-(found.accuracy or 0.0), found.loss))
    return min(range(len(ranks)), key=lambda i: ranks[i])
