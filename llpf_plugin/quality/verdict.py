"""The quality of a path: dense evaluation, the paper's three criteria as a verdict, and the choice of a point.

Every evaluation re-estimates BatchNorm statistics and runs in eval mode. "Training loss" is the mean over the full
training set, or over a stated sample of it; a maximum is the maximum over all measured points of the dense path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from llpf_plugin.documents import html_table, svg_curve
from llpf_plugin.errors import LLPFError
from llpf_plugin.evaluation.answers import Score
from llpf_plugin.evaluation.point import evaluate
from llpf_plugin.evaluation.survey import choose_by_validation
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import NEAR, Weights, relative_distance, select
from llpf_plugin.quality.legs import leg_summaries
from llpf_plugin.quality.metrics import Metric, highest, loss_metrics, path_metrics, trapezoid
from llpf_plugin.records import Outcome, Row
from llpf_plugin.workspace import Workspace

INNER = (0.1, 0.9)
"""Where a merged model is chosen: t in this range, so that the choice is not a copy of an end."""

TEST_SLACK = (1.1, 0.01)
"""The test loss matches that of the ends if it is at most this factor times the worse one's, plus this much."""


CANDIDATES = 3
"""Places, best on a validation sample, between which all validation data decide."""

METRIC_SPLITS = ("train", "validation")
"""The splits that the dense path is measured on; test data are for promises."""


@dataclass(frozen=True)
class Criterion:
    """One of the paper's criteria: whether it holds (None: not measured), and a sentence with the numbers."""

    name: str
    holds: bool | None
    sentence: str


@dataclass
class Quality:
    """What a path is worth.

    Attributes:
        path: the path that was measured.
        rows: one per measured point, in order, with its position ``t`` and the index of its ``segment``.
        ends: rows of A, of B, and of the ``last`` settled knot (of the path's end where nothing was walked to B), test
            data included.
        goal: the training loss that the path was to stay under, None if there was none.
        sample: training examples of every measurement, None for all.
        layers: names of the coordinates of each layer, for distances.
        workspace: the model, data and device that points are evaluated on.
        exact: whether every place was measured on all data, so that no choice rests on a sample.
    """

    path: Path
    rows: list[Row]
    ends: Mapping[str, Row]
    goal: float | None
    sample: int | None
    layers: Mapping[str, Sequence[str]]
    workspace: Workspace = field(repr=False)
    exact: bool = True

    def column(self, name: str) -> np.ndarray:
        """One quantity over all measured points; NaN where it was not measured."""
        return np.array([np.nan if row[name] is None else row[name] for row in self.rows], dtype=float)

    @property
    def maximum(self) -> float:
        """The dense maximum of the training loss; NaN anywhere counts as infinite."""
        return highest(self.column("train"))

    def worst(self, split: str) -> tuple[float | None, float | None]:
        """The highest loss and the lowest accuracy of all measured points; None where there is none.

        Training accuracy is that of places that were measured on all data, among which are those of highest loss.
        """
        rows = [row for row in self.rows if split != "train" or row.sample is None]
        loss, accuracy = (
            np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=float)
            for name in (split, f"{split}_accuracy")
        )
        highest = None if np.isnan(loss).all() else float(np.nanmax(loss))
        return highest, None if np.isnan(accuracy).any() or not len(rows) else float(accuracy.min())

    @property
    def mean(self) -> float:
        """The mean training loss over the path, by arc length."""
        t, loss = self.column("t"), self.column("train")
        return trapezoid(loss, t)

    @property
    def _end_losses(self) -> tuple[float, float]:
        a, b = self.ends["A"].train, self.ends["B"].train
        return (np.nan if a is None else a, np.nan if b is None else b)

    @property
    def tolerance(self) -> float:
        """The dense maximum above the worse end's training loss (the paper's tolerance)."""
        return self.maximum - max(self._end_losses)

    @property
    def barrier(self) -> float:
        """``max L(t) − ½(L(0) + L(1))`` of the training loss (Ainsworth et al., 2023)."""
        return self.maximum - 0.5 * sum(self._end_losses)

    def metrics(self, split: str = "train") -> dict[str, Metric]:
        """Every metric that follows from the dense evaluation, by the names of `DEFINITIONS`.

        Args:
            split: ``train`` or ``validation``.
        """
        task = self.workspace.task
        missing = "" if getattr(task, split) is not None else f"the task has no {split} data"
        columns = (self.column("t"), self.column(split), self.column(f"{split}_accuracy"))
        return {**loss_metrics(*columns, missing), **self._geometry}

    @cached_property
    def _geometry(self) -> dict[str, Metric]:
        return path_metrics(self.path)

    @cached_property
    def arrival(self) -> dict[str, float]:
        """Relative distance of the last settled knot to its destination, by layer; empty where nothing was walked."""
        if not self.path.walked:
            return {}
        index = self.path.last_settled
        here, there = self.path.knots[index], self.path.knots[self.path.destination]
        return {layer: relative_distance(select(here, names), there) for layer, names in self.layers.items()}

    @cached_property
    def criteria(self) -> tuple[Criterion, Criterion, Criterion]:
        """The paper's three criteria (section 5)."""
        return (self._low(), self._arrived(), self._tested())

    @property
    def connected(self) -> bool:
        """Whether the path leads to B and every criterion that could be measured holds."""
        return not self.path.open and all(c.holds is not False for c in self.criteria)

    def _low(self) -> Criterion:
        accuracy = self.worst("train")[1]
        between = any(0 < row.u < 1 for row in self.rows)
        where = "on the whole path" if between else "at its knots, with nothing measured between them"
        words = f"training loss is at most {self.maximum:.4g} {where}"
        if accuracy is not None:
            words += f", accuracy at least {accuracy:.2%}"
        if self.goal is None:
            return Criterion("low loss", None, words + " (no goal was set)")
        return Criterion("low loss", self.maximum <= self.goal, f"{words}; the goal is {self.goal:.4g}")

    def _arrived(self) -> Criterion:
        if self.path.open:
            return Criterion("arrival", None, "the path does not lead to B: it ends at the model that was trained on")
        if not self.path.walked:
            where = "B by construction"
            if self.path.equivalent:
                where = "a network that computes what B does, its units placed by the search"
            how = "the walk stalled on the way" if self.path.outcome is Outcome.STALLED else "nothing was walked"
            return Criterion("arrival", None, f"{how}: the path ends at {where}")
        layer = max(self.arrival, key=lambda k: self.arrival[k])
        far = self.arrival[layer]
        words = (
            f"the last settled knot is within {far:.3%} of its destination in every layer (farthest: {layer}); "
            f"the closing segment is {self.path.closing_length / max(self.path.length, 1e-300):.2%} of the path"
        )
        return Criterion("arrival", far <= NEAR, words)

    def _tested(self) -> Criterion:
        split = "test" if self.ends["A"].test is not None else "validation"
        a, last, b = (self.ends[k][split] for k in ("A", "last", "B"))
        if a is None or b is None or last is None:
            return Criterion("test loss", None, "the task has neither test nor validation data")
        factor, plus = TEST_SLACK
        allowed = max(a, b) * factor + plus
        where = "last settled knot" if self.path.walked else "end of the path"
        words = (
            f"{split} loss is {last:.4g} at the {where}, {a:.4g} at A and {b:.4g} at B; "
            f"allowed is {allowed:.4g}, {factor} × the worse one + {plus}"
        )
        return Criterion("test loss", last <= allowed, words)

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, its criteria, and the training loss on the path."""
        words = {True: "holds", False: "does not hold", None: "not measured"}
        rows = [(c.name, words[c.holds], c.sentence) for c in self.criteria]
        verdict = "connected" if self.connected else "not connected"
        told = f"training loss on the path, at most {self.maximum:.4g}"
        curve = svg_curve(self.column("t").tolist(), self.column("train").tolist(), self.goal, told)
        return html_table(("criterion", "", "in words"), rows, f"Quality: {verdict}; {told}") + curve

    def pick(self, which: str | float = "best") -> "Picked":
        """One point of the path as a complete model, its running statistics re-estimated.

        Args:
            which: ``best`` is the measured point with t in [0.1, 0.9] best on validation data (accuracy, then loss; on
                training data if there are none; an end if no point between has a loss), and the end of a path that does
                not lead to B; ``mid`` is t = 0.5; ``end`` the last settled knot, or the path's end; or t itself.

        Returns:
            The weights, where they lie, and their scores on every split, test data included.
        """
        t = self._place(which)
        task = self.workspace.task
        splits = {"train": task.train, "validation": task.validation, "test": task.test}
        scores, buffers = evaluate(self.workspace, self.path.at(t), splits, self.sample)
        weights = {**self.path.at(t), **{k: v.cpu() for k, v in buffers.items() if k not in self.path.unreached}}
        return Picked(t, weights, scores)

    def _place(self, which: str | float) -> float:
        t = check_pick(which)
        if t is not None:
            return t
        if which == "end" or self.path.open:
            return float(self.path.positions[self.path.last_settled])
        places = self.column("t")
        inner = (places >= INNER[0]) & (places <= INNER[1])
        split = "validation" if np.isfinite(self.column("validation")).all() else "train"
        accuracy = np.nan_to_num(self.column(f"{split}_accuracy"), nan=0.0)
        order = np.lexsort((self.column(split), -accuracy))
        if not inner.any():
            return 0.5
        sound = np.isfinite(self.column("train"))
        candidates = [float(places[i]) for i in order if inner[i] and sound[i]]
        if split == "validation" and not self.exact and len(candidates) > 1:
            few = candidates[:CANDIDATES]
            return few[choose_by_validation(self.workspace, [self.path.at(t) for t in few])]
        return next(iter(candidates or [float(places[i]) for i in order if sound[i]]), 0.0)

    @property
    def measured(self) -> dict[str, int | None]:
        """How many places were measured, how many of them on all data, and on how many examples the others at least."""
        return {
            "places": len(self.rows),
            "on_all_data": sum(row.sample is None for row in self.rows),
            "sample": min((row.sample for row in self.rows if row.sample is not None), default=None),
        }

    def summary(self) -> dict[str, Any]:
        """The numbers and sentences of the verdict, as JSON values."""
        legs = [leg.to_json() for leg in leg_summaries(self.path, self.rows)]
        return {
            "connected": self.connected,
            "criteria": [asdict(c) for c in self.criteria],
            "gradient_steps": self.path.cost.gradient_steps,
            **{kind: spent.to_json() for kind, spent in self.path.cost.spent.items()},
            "measured": self.measured,
            "metrics": {split: {k: asdict(m) for k, m in self.metrics(split).items()} for split in METRIC_SPLITS},
            "goal": self.goal,
            "sample": self.sample,
            "ends": {name: row.to_json() for name, row in self.ends.items()},
            **({"legs": legs} if legs else {}),
            **({"unreached": list(self.path.unreached)} if self.path.unreached else {}),
        }


@dataclass(frozen=True)
class Picked:
    """A point that was picked from a path.

    Attributes:
        t: its place.
        weights: the complete state dict, on the CPU.
        scores: by split, None where the task has no such data.
    """

    t: float
    weights: Weights
    scores: Mapping[str, Score | None]


def check_pick(which: str | float) -> float | None:
    """The position that a pick names, None where it depends on the path.

    Raises:
        LLPFError: it is none of ``best``, ``mid``, ``end`` and a number in [0, 1].
    """
    if which in ("best", "end"):
        return None
    try:
        t = 0.5 if which == "mid" else float(which)
    except ValueError as error:
        raise LLPFError(f"pick {which!r}: it must be best, mid, end or a number in [0, 1]") from error
    if not 0 <= t <= 1:
        raise LLPFError(f"pick {which}: t lies in [0, 1]")
    return t
