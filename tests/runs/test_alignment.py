"""What became of aligning B to A: in a sentence, and read from folders that anybody may have edited."""

import math
from typing import Any

import pytest

from llpf_plugin.files import plain
from llpf_plugin.runs import Alignment
from llpf_plugin.runs.alignment import at_most, recorded


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            Alignment(True, 2.654, 2.16, 1.14e-6),
            "B's units were re-ordered: the same function (difference ≤ 1.2e-06); line 2.65, aligned 2.16; the path "
            "ends at the aligned B",
        ),
        (Alignment(True), "B's units were re-ordered: the same function; the path ends at the aligned B"),
        (
            Alignment(False, 2.16, 2.654, 1e-6),
            "B's units stay as they are: re-ordering them did not lower the straight line (line 2.16, aligned 2.65)",
        ),
        (
            Alignment(False, 2.654, 2.16, 0.01, how="re-ordered and scaled"),
            "B's units stay as they are: re-ordered and scaled, it is not quite the same function in this precision "
            "(difference ≤ 0.01); line 2.65, aligned 2.16",
        ),
        (Alignment(why="the model cannot be traced"), "B's units stay as they are: the model cannot be traced"),
    ],
)
def test_it_is_said_in_one_sentence(found: Alignment, sentence: str) -> None:
    assert found.sentence == sentence
    assert recorded({"alignment": plain(found.to_json())}) == found


def test_a_line_that_was_not_finite_is_infinite_again() -> None:
    found = Alignment(True, math.inf, 2.0, 1e-6, end="ab")
    assert recorded({"alignment": plain(found.to_json())}) == found and "line inf, aligned 2" in found.sentence


@pytest.mark.parametrize("info", [{}, {"alignment": None}, {"alignment": "kept"}, {"alignment": {"line": "high"}}])
def test_what_makes_no_sense_is_no_record(info: dict[str, Any]) -> None:
    assert recorded(info) is None


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0"), (1.14e-6, "1.2e-06"), (1.1e-6, "1.1e-06"), (0.25, "0.25"), (math.inf, "inf")]
)
def test_a_bound_is_rounded_upwards(value: float, words: str) -> None:
    assert at_most(value) == words
