"""Numbers as people read them."""

import pytest

from llpf_plugin.report.format import duration, number, percent, plain, size


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "not recorded"), (float("inf"), "not finite"), (float("nan"), "not finite"), (1234, "1,234"),
        (0.04567, "0.0457"), (12345.6, "12,346"), (0.0, "0"), (-1.5, "-1.5"), (1e-9, "1e-09"), (2e9, "2,000,000,000"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "time not recorded"), (0, "0.0 s"), (5, "5.0 s"), (119.96, "120.0 s"), (120, "2 min"), (600, "10 min"),
        (7199, "120 min"), (7200, "2.0 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_sizes() -> None:
    assert [size(x) for x in (2**19, 120 * 2**20, 3.5 * 2**30)] == ["0.5 MiB", "120 MiB", "3.5 GiB"]


def test_shares() -> None:
    assert percent(0.25) == "25.00 %"


def test_settings() -> None:
    assert [plain(v) for v in (None, 0.5, "stage", True, 4)] == ["default", "0.5", "stage", "True", "4"]
