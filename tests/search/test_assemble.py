"""How knots become part of a path: their labels, which are dropped, and what is left of those that are."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path as FilePath

import pytest
from helpers import tiny
from helpers.searches import coarse, found, schedule

from llpf_plugin import LLPF, Path
from llpf_plugin.geometry.knots import MemoryKnots
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.methods import Plan
from llpf_plugin.records import Knot
from llpf_plugin.search.assemble import PathAssembler
from llpf_plugin.search.progress import Fresh, Progress


def test_labels_tell_how_each_knot_came() -> None:
    path = found("conv")
    kinds = [label.kind for label in path.labels]
    assert kinds == ["start", *["settled"] * (len(kinds) - 3), "closing", "end"]
    assert len(kinds) == len(path.knots) and path.last_settled == len(kinds) - 3
    assert all(label.phase == "all" for label in path.labels[1:-2])


def keeps_loss(path: Path, slack: float) -> None:
    """No segment of the walk is higher than its ends by more than the slack."""
    before = math.nan
    for i in range(len(path.knots) - 1):
        losses = [row.train for row in path.quality.rows if row.segment == i]
        ends = [before, losses[-1]] if i else [losses[0], losses[-1]]
        assert i >= path.last_settled or max(losses) <= max(ends) + slack
        before = losses[-1]


@pytest.mark.parametrize("name", tiny.TASKS)
def test_thinning_keeps_ends_and_the_loss(name: str, tmp_path: FilePath) -> None:
    method, slack = LLPF(schedule=schedule(tmp_path, 80, steps=1), repairs=0), 0.01
    whole, thin = (found(name, replace(method, thin=least)) for least in (0.0, slack))
    assert [tick.settled_loss for tick in whole.record] == [tick.settled_loss for tick in thin.record]
    assert thin.cost.dropped > 40 and len(thin.knots) == 80 + 3 - thin.cost.dropped
    assert tiny.same(thin.knots[0], whole.knots[0]) and tiny.same(thin.knots[-1], whole.knots[-1])
    assert tiny.same(thin.knots[thin.last_settled], whole.knots[whole.last_settled])
    keeps_loss(thin, slack)


def test_what_blocks_have_left_is_looked_at_again(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten blocks of eight ticks leave one knot each; four of these leave one, then four more, and two are left over."""
    monkeypatch.setattr("llpf_plugin.search.assemble.BLOCK", 4)
    method = LLPF(schedule=schedule(tmp_path, 80, steps=1), thin=100.0)
    store = MemoryKnots()
    path = found("mlp", method, knots=store)
    assert [label.tick for label in path.labels[1:-2]] == [31, 63, 71, 79]
    assert len(path.knots) == len(store._knots) == 7 and path.cost.dropped == 76


@pytest.mark.parametrize("name", tiny.TASKS)
def test_looking_again_keeps_the_loss(name: str, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llpf_plugin.search.assemble.BLOCK", 4)
    path = found(name, LLPF(schedule=schedule(tmp_path, 80, steps=1), thin=0.01))
    assert 5 < len(path.knots) < 80 and path.last_settled == len(path.knots) - 3
    keeps_loss(path, 0.01)


class Counting(MemoryKnots):
    """Counts the knots that there are at once."""

    most = 0

    def put(self, knot: int, weights: Weights) -> None:
        super().put(knot, weights)
        self.most = max(self.most, len(self._knots))


@pytest.mark.parametrize("block", [4, 32])
@pytest.mark.parametrize("most", [2, 5])
def test_no_more_knots_are_kept_than_there_may_be(
    most: int, block: int, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llpf_plugin.search.assemble.BLOCK", block)
    store, method = Counting(), LLPF(schedule=schedule(tmp_path, 80, steps=1), repairs=0, thin=0.0, keep_knots=most)
    path = found("mlp", method, knots=store)
    assert store.most == most + 3 and len(path.knots) == len(store._knots) == most + 3  # A, B, and one more at a time
    assert path.cost.dropped == 80 - most and path.labels[path.last_settled].tick == 79
    ticks = [label.tick for label in path.labels[1:-2]]
    gaps = [after - before for before, after in pairwise(ticks)]
    assert max(gaps[:-1], default=0) <= 2 * min(gaps[:-1], default=1)  # the last one may be short
    assert len(path.quality.rows) == 4 * (len(path.knots) - 1) + 1


@pytest.mark.parametrize(
    ("knots", "start", "left"),
    [
        ([2, 5, 6, 8], None, [2, 5, 8]), ([2, 5, 6, 8], 6, [2, 6, 8]), ([2, 5, 9], 5, [5, 9]), ([2, 5, 9], 2, [2, 9]),
    ],
)  # fmt: skip
def test_the_knot_that_a_resumed_search_begins_at_is_not_dropped(
    knots: list[int], start: int | None, left: list[int]
) -> None:
    fresh, store = Fresh(knots, looked=len(knots), start=start, again=len(knots)), MemoryKnots()
    progress = Progress(fresh=fresh, labels={str(i): Knot("settled") for i in knots})
    for knot in knots:
        store.put(knot, {})
    PathAssembler(progress, store, tiny.mlp(), Plan(lambda _: None, most=2), None, ())._drop_one(fresh)  # type: ignore[arg-type, return-value]
    assert fresh.knots == left and (fresh.looked, fresh.again, progress.dropped) == (len(left), len(left), 1)
    assert list(progress.labels) == [str(i) for i in left] == [str(i) for i in store._knots]


def test_knots_are_dropped_by_one_example_where_the_user_asks_for_one(tmp_path: FilePath) -> None:
    path = found("conv", LLPF(schedule=schedule(tmp_path, 80, steps=1), repairs=0, thin=100.0), sample=1)
    assert path.cost.dropped > 20


def test_knots_that_are_gone_are_gone_from_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llpf_plugin.search.assemble.BLOCK", 3)
    store = MemoryKnots()
    path = coarse("mlp", knots=store)
    assert path.cost.dropped > 0 and sorted(store._knots) == sorted(path.knots.ids)  # type: ignore[attr-defined]
