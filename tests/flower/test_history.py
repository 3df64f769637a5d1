"""What is shown of the rounds."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from llpf_flower.history import picture, table


def test_the_table_shows_rounds_and_who_was_left_out() -> None:
    text = table(
        [{"round": 1, "clients": 2, "left_out": {7: "late"}, "loss": 0.25}, {"round": 2, "clients": 3, "acc": 1.0}]
    )
    assert text.splitlines() == [
        "| clients | round | loss | acc |",
        "| ---: | ---: | ---: | ---: |",
        "| 2 (−1) | 1 | 0.25 |  |",
        "| 3 | 2 |  | 1 |",
    ]


def test_the_picture_of_many_rounds_has_lines_and_that_of_one_has_bars() -> None:
    pytest.importorskip("matplotlib")
    rows = [{"round": i, "clients": 2, "loss": 1.0 / i, "acc": 0.5, "consensus": 0.25} for i in (1, 2, 3)]
    above, below = picture(rows).axes
    assert [line.get_label() for line in above.lines] == ["loss", "acc"]
    assert [list(line.get_ydata()) for line in below.lines] == [[0.25] * 3] and not above.patches
    above, below = picture(rows[1:2]).axes
    assert [bar.get_width() for bar in above.patches] == [0.5, 0.5]
    assert [text.get_text() for text in above.texts] == ["0.5", "0.5"] and not above.lines
    assert [label.get_text() for label in below.get_yticklabels()] == ["consensus"]


def test_a_picture_of_nothing_is_empty() -> None:
    pytest.importorskip("matplotlib")
    for rows in ([], [{"round": 1, "clients": 0}]):
        assert not any(axes.lines or axes.patches for axes in picture(rows).axes)
