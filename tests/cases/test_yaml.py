"""A schedule file that nobody could mean is refused in one short sentence, soon and in little memory."""

import resource
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, merge, method, process


def laughs() -> str:
    """Forty lists, of which each holds the one before twice."""
    lists = ["&y0 [1, 1]", *(f"&y{i} [*y{i - 1}, *y{i - 1}]" for i in range(1, 40))]
    return f"phases:\n  - {{layers: all, ticks: [{', '.join(lists)}]}}\n"


FILES = {
    "a number of 5,000 digits": ("phases: " + 5000 * "1", "ValueError"),
    "a date that no calendar has": ("phases:\n  - {ticks: 2001-99-99, layers: all}\n", "ValueError"),
    "lists, nested": ("phases: " + 20_000 * "[" + 20_000 * "]", "RecursionError"),
    "a float that is none": ("phases: !!float abc\n", "ValueError"),
}


def words(folder: Path, text: str) -> list[object]:
    for name, weights in zip("ab", tiny.pair("mlp"), strict=True):
        torch.save(weights, folder / f"{name}.pt")
    (folder / "mine.yaml").write_text(text)
    asked = ["--task", f"{tiny.__file__}:mlp", "-o", folder / "run", "--no-report"]
    return [folder / "a.pt", folder / "b.pt", *asked, *method("llpf", schedule=folder / "mine.yaml")]


def refused(result: Result, folder: Path) -> None:
    assert result.code == 1 and not result.traceback, result.err[-2000:]
    assert result.err.startswith("llpf merge: ") and "mine.yaml" in result.err
    assert len(result.err) < 1000, result.err[:2000]
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason))
        for name, (_, reason) in FILES.items()
    ],
)
def test_yaml_that_no_schedule_is(tmp_path: Path, name: str) -> None:
    refused(merge(*words(tmp_path, FILES[name][0])), tmp_path)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the value is written out in the message, 2 to the 40")
def test_lists_that_hold_each_other_twice(tmp_path: Path) -> None:
    limits = {resource.RLIMIT_DATA: 4 << 30}
    refused(process("llpf-merge", *words(tmp_path, laughs()), limits=limits, timeout=12), tmp_path)
