"""How the knots of a walk become part of the path: labelled, thinned, put in place."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llpf_plugin.evaluation.goal import Levels
from llpf_plugin.evaluation.point import borrowed, evaluate
from llpf_plugin.geometry.knots import Knots
from llpf_plugin.geometry.weights import Weights, lerp
from llpf_plugin.llpf import common_spheres as legs
from llpf_plugin.methods.base import Outcome
from llpf_plugin.search.progress import Progress, Stretch, trails
from llpf_plugin.search.settings import Settings
from llpf_plugin.workspace import Gradient

ENDED = (Outcome.ARRIVED.name, Outcome.SHORT.name)
"""Outcomes of a stretch that was walked to its end."""

SAMPLE, INNER = 500, (0.5, 0.25, 0.75)
"""Training examples, and places on a chord, that decide which knots are superfluous; the verdict rests on neither."""


@dataclass(frozen=True)
class Weave:
    """Works on a search's progress and knots.

    Attributes:
        progress: the chain of knots, their labels, and the fresh ones.
        knots: where they are kept.
        gradient: evaluates chords.
        settings: say how much loss a dropped knot may cost.
        levels: likewise.
        destination: the knot where the last stretch of the walk itself ends; the segment to it is the closing one.
    """

    progress: Progress
    knots: Knots
    gradient: Gradient
    settings: Settings
    levels: Levels
    destination: int

    def label(self, stretch: Stretch, report: Mapping[str, Any]) -> dict[str, Any]:
        """What a knot of a stretch is called; one that was walked backwards has not settled on the way to B."""
        backwards = self.progress.chain.index(stretch.start) > self.progress.chain.index(stretch.end)
        leg = {"leg": stretch.leg} if stretch.leg else {}
        words = {k: report.get(k) for k in ("phase", "tick", "low")}
        return {"kind": "reversed" if backwards else "settled", **words, **leg}

    def keep(self, knot: Weights, side: str, label: dict[str, Any]) -> None:
        """Add a settled knot to its walker's trail, and drop superfluous ones once a block is full."""
        stretch, trail = self.progress.todo[0], self.progress.fresh[side]
        trail.knots.append(self._add(knot, {**label, "side": self._side(stretch, side)}))
        if trail.full(label["low"]):
            with borrowed(self.gradient):
                dropped = trail.thin(stretch.start if side == "A" else stretch.end, self._keeps_loss)
            self.discard(dropped)

    def _side(self, stretch: Stretch, walker: str) -> str:
        """On which side of the path's meeting place a knot lies: a repair may lie on one side altogether."""
        if stretch.leg == legs.UP:
            return "B"
        start, end = (self.progress.labels.get(str(i), {}).get("side", "A") for i in (stretch.start, stretch.end))
        return start if start == end and stretch.strictness > 0 else walker

    def _add(self, knot: Weights, label: dict[str, Any]) -> int:
        p = self.progress
        self.knots.put(p.next_knot, knot)
        p.labels[str(p.next_knot)] = label
        p.next_knot += 1
        return p.next_knot - 1

    def _keeps_loss(self, i: int, j: int) -> bool:
        """Whether the chord between two knots is nowhere worse than its ends by more than the setting ``thin``."""
        slack = self.levels.room / 20 if self.settings.thin is None else self.settings.thin
        p, q = self.knots.get(i), self.knots.get(j)
        limit = max(self._sampled(p), self._sampled(q)) + slack
        return all(self._sampled(lerp(p, q, u)) <= limit for u in INNER)

    def _sampled(self, weights: Weights) -> float:
        limit = min(SAMPLE, self.settings.sample or SAMPLE)
        score = evaluate(self.gradient, weights, {"train": self.gradient.task.train}, limit)[0]["train"]
        assert score is not None
        return score.loss

    def join(self, stretch: Stretch, closing: Sequence[Weights], outcome: str | None, curve: bool) -> None:
        """Put the fresh knots in place of what lay between the stretch's ends; a failed repair changes nothing.

        Args:
            stretch: the one that has ended, the first of those to be walked.
            closing: what leads from the last settled knot to the stretch's end, the end included.
            outcome: of its finder, None where the budget ran out.
            curve: whether ``closing`` is a trained curve.
        """
        p = self.progress
        outcome = outcome or Outcome.BUDGET.name
        arrived = outcome in ENDED
        if stretch.strictness == 0:
            p.outcome, p.walked = outcome, self.gradient.steps
        if stretch.leg and stretch.strictness == 0:
            p.legs[stretch.leg] = {"outcome": outcome, "steps": self.gradient.steps - p.begun}
        if stretch.open:
            self._reach(stretch)
        fresh = [*p.fresh["A"].knots, *reversed(p.fresh["B"].knots)]
        if arrived or stretch.strictness == 0:
            label = {**self.label(stretch, {"phase": "closing"}), "side": self._side(stretch, "B")}
            if curve:
                label = {"kind": "curve", "phase": "curve", "side": "A"}
            elif stretch.end == self.destination:
                label |= {"kind": "closing", "side": "B"}
            fresh += [self._add(weights, dict(label)) for weights in closing[:-1]]
            i, j = sorted((p.chain.index(stretch.start), p.chain.index(stretch.end)))
            fresh = fresh if p.chain[i] == stretch.start else fresh[::-1]
            fresh, p.chain[i + 1 : j] = p.chain[i + 1 : j], fresh
        self.discard([] if stretch.polish else fresh, superfluous=False)
        p.todo.pop(0)
        p.fresh, p.state = trails(), None

    def _reach(self, stretch: Stretch) -> None:
        """The last knot of an open stretch becomes its end; one that reached nothing ends where it began."""
        p, trail = self.progress, self.progress.fresh["A"]
        last = trail.knots.pop() if trail.knots else None
        self.knots.put(stretch.end, self.knots.get(stretch.start if last is None else last))
        label = {**self.label(stretch, {}), "side": self._side(stretch, "A"), **p.labels.get(str(last), {})}
        p.labels[str(stretch.end)] = {**label, "kind": "end"} if stretch.end == 1 else label
        self.discard([] if last is None else [last], superfluous=False)

    def discard(self, knots: Collection[int], superfluous: bool = True) -> None:
        """Forget knots; those that the path can do without are counted."""
        self.knots.discard(sorted(knots))
        for knot in knots:
            del self.progress.labels[str(knot)]
        self.progress.dropped += len(knots) if superfluous else 0
