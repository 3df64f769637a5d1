"""Losses along a path: a segment, a line, and all segments in a row."""

import pytest
from helpers import tiny
from helpers.planes import corner, data, plane, straight

from llpf_plugin.evaluation import losses_on_line, measure_point, measure_segment
from llpf_plugin.evaluation.along_path import placed
from llpf_plugin.evaluation.survey import places
from llpf_plugin.records import Row
from llpf_plugin.workspace import Workspace


def test_a_sample_is_of_training_data_only() -> None:
    task = plane(train=data((1, 0, 0), (1, 0, 9)), validation=data((1, 0, 0), (1, 0, 9)))
    row = measure_point(Workspace(task), corner().knots[1], sample=1)
    assert row.train == pytest.approx(9) and row.validation == pytest.approx((9 + 36) / 2)


def test_a_segment_and_the_line_agree() -> None:
    (a, b), task = tiny.pair("mlp"), tiny.mlp()
    workspace = Workspace(task)
    segment = measure_segment(workspace, a, b, points=6, sample=None)
    assert losses_on_line(workspace, a, b, points=6, sample=None) == [row.train for row in segment]


def test_a_segment_by_hand() -> None:
    """The loss w₀² from 0 to 2: its places, both knots included; what is known of a knot is not measured again."""
    workspace, path = Workspace(plane()), straight((0, 0), (2, 0))
    rows = measure_segment(workspace, path.knots[0], path.knots[1], 4, None)
    assert [row.u for row in rows] == [0, 0.25, 0.5, 0.75, 1]
    assert [row.train for row in rows] == pytest.approx([0, 0.25, 1, 2.25, 4])
    known = measure_segment(workspace, path.knots[0], path.knots[1], 2, None, (Row(train=7.0, u=1.0), Row(train=8.0)))
    assert [(row.u, row.train) for row in known] == [(0, 7.0), (0.5, pytest.approx(1)), (1, 8.0)]


def test_segments_in_a_row_have_every_knot_once() -> None:
    """A corner of 3 and 4: by arc length."""
    found = places([0, 7, 1], points=2)
    assert [place.name for place in found] == ["0", "0-7:1/2", "7", "7-1:1/2", "1"]
    rows = placed(corner(), [Row(u=place.u, segment=place.segment) for place in found])
    assert [row.t for row in rows] == pytest.approx([0, 1.5 / 7, 3 / 7, 5 / 7, 1])
