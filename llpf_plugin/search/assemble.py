"""How the knots of a search become part of the path: labelled, thinned, put in place; what is to be repaired."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from llpf_plugin.evaluation.answers import mean
from llpf_plugin.evaluation.point import borrowed, glance
from llpf_plugin.geometry.knots import Knots
from llpf_plugin.geometry.path import simplify
from llpf_plugin.geometry.weights import Weights, lerp
from llpf_plugin.methods.base import Plan, Solver, Stretch
from llpf_plugin.records import Knot, LegCost, Outcome, Row, Tick, leg_of
from llpf_plugin.search.progress import Fresh, Progress
from llpf_plugin.workspace import Workspace

ENDED = (Outcome.ARRIVED.name, Outcome.SHORT.name)
"""Outcomes of a stretch that was walked to its end."""

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
        """Put the fresh knots in place of what lay between the ends of a stretch; a failed repair changes nothing."""
        p = self.progress
        outcome = p.ended or Outcome.BUDGET.name
        if stretch.strictness == 0:
            p.outcome, p.walked = outcome, self.workspace.steps
            if stretch.leg:
                steps = sum(tick.steps for tick in p.record if tick.leg == stretch.leg and tick.stretch == p.round)
                p.legs[stretch.leg] = LegCost(outcome, steps)
        if stretch.open:
            self._reach(stretch)
        replaced = list(p.fresh.knots)
        if outcome in ENDED or stretch.strictness == 0:
            fresh = [*p.fresh.knots, *self._close(stretch, solver)]
            i, j = sorted((p.chain.index(stretch.start), p.chain.index(stretch.end)))
            replaced = p.chain[i + 1 : j]
            p.chain[i + 1 : j] = fresh if p.chain[i] == stretch.start else fresh[::-1]
        self.discard(replaced)
        p.todo.pop(0)
        p.fresh, p.state, p.ended = Fresh(), None, None

    def _close(self, stretch: Stretch, solver: Solver) -> list[int]:
        """The knots that follow the last settled one: the closing ones of the walk itself, or those of a curve."""
        if stretch.open:
            return []
        label = replace(self._label(stretch, None), phase="closing")
        if solver.closes_with == "curve":
            label = Knot("curve", "curve")
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
        """Forget knots."""
        self.knots.discard(sorted(knots))
        for knot in knots:
            del self.progress.labels[str(knot)]

    def repairs(self, rows: Sequence[Row], goal: float) -> list[Stretch]:
        """The stretches above the goal, from good knot to good knot; none once repairs or budget are used up."""
        p = self.progress
        if p.outcome not in ENDED or p.round >= self.plan.repairs or self.workspace.remaining == 0:
            return []
        labels = [p.labels[str(i)] for i in p.chain]
        above = [row for row in rows if not (row.train or 0.0) <= goal]
        parts = {row.segment for row in above} | {row.segment + 1 for row in above if row.u == 1.0}  # a knot has two
        high = [leg_of(*pair) if i in parts else None for i, pair in enumerate(pairwise(labels))]
        stretches = []
        for leg, run in groupby(range(len(high)), key=lambda i: high[i]):
            first, *_, last = [*run] * 2
            if leg is not None and labels[first].kind != "closing":  # the closing segment has no knots to move
                stretches.append(self.plan.repair(Stretch(p.chain[first], p.chain[last + 1], p.round + 1, leg)))
        return [stretch for stretch in stretches if stretch is not None]
