"""How the knots of a search become part of the path: labelled, thinned, put in place; what is to be repaired."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from llpf_plugin.evaluation.answers import mean
from llpf_plugin.evaluation.goal import Goal
from llpf_plugin.evaluation.point import borrowed, glance
from llpf_plugin.geometry.knots import Knots
from llpf_plugin.geometry.path import simplify
from llpf_plugin.geometry.weights import Weights, lerp
from llpf_plugin.methods.base import Plan, Solver, Stretch
from llpf_plugin.methods.rounds import round_steps
from llpf_plugin.records import Knot, LegCost, Outcome, Row, Tick, leg_of
from llpf_plugin.search.progress import Fresh, Progress
from llpf_plugin.workspace import Workspace

ENDED = (Outcome.ARRIVED.name, Outcome.SHORT.name, Outcome.STALLED.name)
"""Outcomes of a walk that came to its end, so that what is high on its path is worth a repair."""

WIDE = 0.5
"""A stretch is repaired between knots that lie at most this part of the way from the ends' loss to the goal."""

BLOCK = 32
"""Knots that are looked at together when redundant ones are dropped; shorter walks keep every knot. What is left of so
many is looked at once more, so that a schedule of 30,000 ticks need not leave a thousand."""

SAMPLE, INNER = 500, (0.5, 0.25, 0.75)
"""Training examples, and places on a chord, that decide which knots are redundant; the verdict rests on neither."""


@dataclass(frozen=True)
class PathAssembler:
    """Works on a search's progress and knots.

    Attributes:
        progress: the chain of knots, their labels, and the fresh ones.
        knots: where they are kept.
        workspace: evaluates chords.
        plan: says how much loss a dropped knot may cost.
        sample: training examples to measure on at most.
        names: the coordinates of the path; a solver's knots may hold what the path does not move.
    """

    progress: Progress
    knots: Knots
    workspace: Workspace
    plan: Plan
    sample: int | None
    names: Collection[str]

    def keep(self, knot: Weights, stretch: Stretch, tick: Tick | None) -> None:
        """Add a settled knot, and drop redundant ones once a block is full, and again once that has left a block.

        A block's last knot stays, so that one with a low loss is waited for.
        """
        fresh, label = self.progress.fresh, self._label(stretch, tick)
        fresh.knots.append(self._add(knot, label))
        waiting = len(fresh.knots) - fresh.looked
        if waiting >= BLOCK and (label.low or waiting >= 2 * BLOCK):
            with borrowed(self.workspace), self.workspace.clock.on("measuring"):
                self._thin(fresh, stretch.start, fresh.looked)
                if fresh.looked - fresh.again >= BLOCK:
                    self._thin(fresh, stretch.start, fresh.again)
                    fresh.again = fresh.looked
        while self.plan.most is not None and len(fresh.knots) > self.plan.most:
            self._drop_one(fresh)

    def _drop_one(self, fresh: Fresh) -> None:
        """Drop the knot between the two that lie next to each other, by the settled points that were kept till then.

        The last one stays, and so does the one that the search went on from: a resumed search begins there.
        """
        knots = fresh.knots
        between = [i for i in range(1, len(knots) - 1) if knots[i] != fresh.start]
        place = min(between, key=lambda i: knots[i + 1] - knots[i - 1], default=0)
        self.discard([knots.pop(place)])
        fresh.looked, fresh.again = fresh.looked - (place < fresh.looked), fresh.again - (place < fresh.again)
        self.progress.dropped += 1

    def _thin(self, fresh: Fresh, start: int, since: int) -> None:
        """Drop what the last block can do without, the knots from place ``since`` on."""
        block = fresh.knots[since:]
        before = fresh.knots[since - 1] if since else start
        kept = simplify([before, *block], self._keeps_loss)[1:]
        fresh.knots[since:] = kept
        fresh.looked = len(fresh.knots)
        self.discard(set(block) - set(kept))
        self.progress.dropped += len(block) - len(kept)

    def _keeps_loss(self, i: int, j: int) -> bool:
        """Whether the chord between two knots is nowhere worse than its ends by more than the plan's slack."""
        p, q = self.knots.get(i), self.knots.get(j)
        limit = max(self._sampled(p), self._sampled(q)) + self.plan.slack
        return all(self._sampled(lerp(p, q, u)) <= limit for u in INNER)

    def _sampled(self, weights: Weights) -> float:
        """The loss on a sample in one batch, so that the pass that gathers statistics (of at least two) gives it."""
        sample = max(2, min(SAMPLE, self.sample or SAMPLE))
        return mean(glance(self.workspace, weights, sample, sample)).loss

    def _label(self, stretch: Stretch, tick: Tick | None) -> Knot:
        """Where a knot of a stretch comes from; one that was walked backwards has not settled on the way to B."""
        chain = self.progress.chain
        kind = "reversed" if chain.index(stretch.start) > chain.index(stretch.end) else "settled"
        if tick is None:
            return Knot(kind, leg=stretch.leg)
        return Knot(kind, tick.phase, tick.tick, tick.low, stretch.leg)

    def _add(self, knot: Weights, label: Knot) -> int:
        p = self.progress
        self.knots.put(p.next_knot, {k: t for k, t in knot.items() if k in self.names})
        p.labels[str(p.next_knot)] = label
        p.next_knot += 1
        return p.next_knot - 1

    def join(self, stretch: Stretch, solver: Solver) -> None:
        """Put the fresh knots in place of what lay between the ends of a stretch; a failed repair changes nothing.

        What a repair replaces is kept until the path has been measured (see `keep_better`).
        """
        p = self.progress
        outcome = p.ended or Outcome.BUDGET.name
        if not stretch.repairs:
            p.outcome = outcome
            if stretch.leg:
                steps = sum(tick.steps for tick in p.record if tick.leg == stretch.leg and tick.stretch == p.round)
                p.legs[stretch.leg] = LegCost(outcome, steps)
        if stretch.open:
            self._reach(stretch)
        if outcome == Outcome.TRAINED.name or not stretch.repairs:
            fresh = [*p.fresh.knots, *self._close(stretch, solver)]
            i, j = sorted((p.chain.index(stretch.start), p.chain.index(stretch.end)))
            replaced = p.chain[i + 1 : j]
            p.chain[i + 1 : j] = fresh if p.chain[i] == stretch.start else fresh[::-1]
            self.discard([] if stretch.repairs else replaced)
        p.todo.pop(0)
        p.fresh, p.state, p.ended = Fresh(), None, None

    def _close(self, stretch: Stretch, solver: Solver) -> list[int]:
        """The knots that follow the last settled one: the closing ones of the walk itself, or those of a curve."""
        if stretch.open or self.progress.ended == Outcome.STALLED.name:
            return []
        label = replace(self._label(stretch, None), phase="closing")
        if solver.closes_with == "curve":
            label = Knot("curve", "repair" if stretch.repairs else "curve", leg=stretch.leg)
        elif stretch.end == self.plan.stretches[-1].end:
            label = replace(label, kind="closing")
        return [self._add(weights, label) for weights in solver.closing()]

    def _reach(self, stretch: Stretch) -> None:
        """The last knot of an open stretch becomes its end; one that reached nothing ends where it began."""
        p = self.progress
        last = p.fresh.knots.pop() if p.fresh.knots else None
        self.knots.put(stretch.end, self.knots.get(stretch.start if last is None else last))
        label = self._label(stretch, None) if last is None else p.labels[str(last)]
        p.labels[str(stretch.end)] = replace(label, kind="end") if stretch.end == 1 else label
        self.discard([] if last is None else [last])

    def discard(self, knots: Collection[int]) -> None:
        """Forget knots; those that a search with a larger budget goes on from stay."""
        cut = self.progress.cut
        self.knots.discard(sorted(knot for knot in knots if cut is None or str(knot) not in cut.labels))
        for knot in knots:
            del self.progress.labels[str(knot)]

    def keep_better(self, rows: Sequence[Row]) -> bool:
        """Of a path and what it was before the last round of repair, keep the lower one.

        Repairs that were undone are followed by gentler ones, but for the first, which may have been too short.

        Returns:
            Whether the path is the one that was measured.
        """
        p, highest = self.progress, max((_loss(row) for row in rows), default=0.0)
        better = not p.before or highest <= p.highest
        self.discard(set(p.before if better else p.chain) - set(p.chain if better else p.before))
        p.chain, p.highest = p.chain if better else p.before, highest if better else p.highest
        p.undone += not better and p.round > 1
        p.before = []
        return better

    def repairs(self, rows: Sequence[Row], goal: Goal) -> list[Stretch]:
        """The stretches above the goal, from low knot to low knot; none once repairs or budget are used up."""
        p, remaining = self.progress, self.workspace.remaining
        if p.outcome not in ENDED or p.round >= self.plan.repairs or remaining == 0 or self.plan.mend is None:
            return []
        ends, steps = self._high(rows, goal), round_steps((p.highest - goal.ends) / goal.room, p.repaired)
        steps = steps if remaining is None else min(steps, remaining // max(1, len(ends)))
        if not ends or steps == 0:
            return []
        p.repaired = steps
        p.round, p.before, legs, lr = p.round + 1, list(p.chain), self._legs(), 0.5**p.undone
        return [Stretch(p.chain[i], p.chain[j], legs[i], False, _along(rows, i, j), steps, lr) for i, j in ends]

    def _legs(self) -> list[str]:
        """The leg of every segment of the path."""
        return [leg_of(*pair) for pair in pairwise(self.progress.labels[str(i)] for i in self.progress.chain)]

    def _high(self, rows: Sequence[Row], goal: Goal) -> list[tuple[int, int]]:
        """Places in the chain between which a stretch with a loss above the goal lies, wide enough to be mended.

        It begins and ends, within its leg, at knots that lie at most `WIDE` of the way from the ends' loss to the goal.
        The last settled knot stays, for by it arrival is judged, and so does what follows it; unless the walk stalled
        there.
        """
        p, last, legs = self.progress, len(self.progress.chain) - 1, self._legs()
        kinds = [p.labels[str(i)].kind for i in p.chain]
        loss = {row.segment + 1: _loss(row) for row in rows if row.u == 1}
        closing = [kind == "closing" for kind in kinds]
        settled = max((i for i, kind in enumerate(kinds) if kind == "settled"), default=0)
        settled = 0 if p.outcome == Outcome.STALLED.name else settled
        stay = [i for i in range(1, last) if closing[i] or i == settled or legs[i - 1] != legs[i]]
        low = [i for i in range(1, last) if loss[i] <= goal.ends + WIDE * goal.room]
        high = [row.segment for row in rows if not _loss(row) <= goal.loss]
        between = pairwise(sorted({0, *stay, *low, last}))
        return [(i, j) for i, j in between if not (closing[i] or closing[j]) and any(i <= s < j for s in high)]


def _loss(row: Row) -> float:
    """The training loss of a place; one that is not a number counts as infinite."""
    return math.inf if row.train is None or math.isnan(row.train) else row.train


def _along(rows: Sequence[Row], i: int, j: int) -> tuple[tuple[float, float], ...]:
    """The losses that were measured between two knots, by place in segments from the first of them."""
    places = [(row.segment + row.u - i, _loss(row)) for row in rows]
    return tuple((place, loss) for place, loss in places if 0 <= place <= j - i)
