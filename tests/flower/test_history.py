"""What is shown of the rounds."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from llpf_flower.history import table


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
