"""The legs of a path, by hand; `llpf/test_common_spheres.py` walks them."""

import pytest
from helpers.planes import plane, straight

from llpf_plugin import Path, measure
from llpf_plugin.quality import LegSummary, leg_summaries
from llpf_plugin.records import DOWN, JOIN, UP, Cost, Knot, LegCost


def path(*legs: str) -> Path:
    """Along w₀ from 0: 1 down, 2 and 1 joined, 1 up."""
    found = straight((0, 0), (1, 0), (3, 0), (4, 0), (5, 0))
    found.labels = [Knot("start"), *(Knot("settled", leg=leg) for leg in legs), Knot("end")]
    return found


def test_every_leg_by_hand() -> None:
    """The loss is w₀²; the segment after A′ belongs to the join, and the last one to B's leg."""
    found = path(DOWN, JOIN, UP)
    found.cost = Cost(legs={DOWN: LegCost("ARRIVED", 7), JOIN: LegCost("SHORT", 9)})
    rows = measure(found, plane(), points=2).rows
    assert leg_summaries(found, rows) == [
        LegSummary(DOWN, 2, pytest.approx(0.2), pytest.approx(1), "ARRIVED", 7),
        LegSummary(JOIN, 3, pytest.approx(0.6), pytest.approx(16), "SHORT", 9),
        LegSummary(UP, 2, pytest.approx(0.2), pytest.approx(25), None, None),
    ]


def test_a_path_of_one_leg_has_none() -> None:
    found = path("", "", "")
    assert leg_summaries(found, measure(found, plane(), points=1).rows) == []
    bare = straight((0, 0), (1, 0))
    assert leg_summaries(bare, measure(bare, plane(), points=1).rows) == []
