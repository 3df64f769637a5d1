"""How knots become part of a path: their labels, which are dropped, and what is left of those that are."""

import math
from dataclasses import replace
from pathlib import Path as FilePath

import pytest
from helpers import tiny
from helpers.searches import coarse, found, schedule

from llpf_plugin import LLPF
from llpf_plugin.geometry.knots import MemoryKnots


def test_labels_tell_how_each_knot_came() -> None:
    path = found("conv")
    kinds = [label.kind for label in path.labels]
    assert kinds == ["start", *["settled"] * (len(kinds) - 3), "closing", "end"]
    assert len(kinds) == len(path.knots) and path.last_settled == len(kinds) - 3
    assert all(label.phase == "all" for label in path.labels[1:-2])


@pytest.mark.parametrize("name", tiny.TASKS)
def test_thinning_keeps_ends_and_the_loss(name: str, tmp_path: FilePath) -> None:
    method, slack = LLPF(schedule=schedule(tmp_path, 80, steps=1), repairs=0), 0.01
    whole, thin = (found(name, replace(method, thin=least)) for least in (0.0, slack))
    assert [tick.settled_loss for tick in whole.record] == [tick.settled_loss for tick in thin.record]
    assert thin.cost.dropped > 40 and len(thin.knots) == 80 + 3 - thin.cost.dropped
    assert tiny.same(thin.knots[0], whole.knots[0]) and tiny.same(thin.knots[-1], whole.knots[-1])
    assert tiny.same(thin.knots[thin.last_settled], whole.knots[whole.last_settled])
    before = math.nan
    for i in range(len(thin.knots) - 1):
        losses = [row.train for row in thin.quality.rows if row.segment == i]
        ends = [before, losses[-1]] if i else [losses[0], losses[-1]]
        assert i >= thin.last_settled or max(losses) <= max(ends) + slack
        before = losses[-1]


def test_knots_that_are_gone_are_gone_from_the_store() -> None:
    store = MemoryKnots()
    path = coarse("mlp", knots=store)
    assert path.cost.dropped > 0 and sorted(store._knots) == sorted(path.knots.ids)  # type: ignore[attr-defined]
