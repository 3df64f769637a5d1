"""A schedule file that nobody could mean is refused in one short sentence, soon and in little memory."""

import resource
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, merge, method, order, process


def laughs() -> str:
    """Forty lists, of which each holds the one before twice."""
    lists = ["&y0 [1, 1]", *(f"&y{i} [*y{i - 1}, *y{i - 1}]" for i in range(1, 40))]
    return f"phases:\n  - {{layers: all, ticks: [{', '.join(lists)}]}}\n"


FILES = {
    "a number of 5,000 digits": "phases: " + 5000 * "1",
    "a date that no calendar has": "phases:\n  - {ticks: 2001-99-99, layers: all}\n",
    "lists, nested": "phases: " + 20_000 * "[" + 20_000 * "]",
    "a float that is none": "phases: !!float abc\n",
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


@pytest.mark.parametrize("name", FILES)
def test_yaml_that_no_schedule_is(tmp_path: Path, name: str) -> None:
    refused(merge(*words(tmp_path, FILES[name])), tmp_path)


def test_lists_that_hold_each_other_twice(tmp_path: Path) -> None:
    limits = {resource.RLIMIT_DATA: 4 << 30}
    refused(process("llpf-merge", *words(tmp_path, laughs()), limits=limits, timeout=12), tmp_path)


SIBLINGS = {
    "an integer of 5,000 hexadecimal digits": f"batch_size: 0x{5000 * 'f'}\nphases: [{{ticks: 1, layers: all}}]\n",
    "a step too large for a float": f"phases:\n  - {{ticks: 1, layers: all, step_a: 1{400 * '0'}}}\n",
    "ticks that are a long text": f"phases:\n  - {{ticks: {5000 * 'x'}, layers: all}}\n",
    "keys that are long": f"{900 * 'x'}: 1\n" + "".join(f"k{i}: 1\n" for i in range(500)),
    "a truth value that is none": "phases: !!bool maybe\n",
    "phases in which each is the whole": "phases: &p [*p]\n",
}


@pytest.mark.parametrize("name", SIBLINGS)
def test_values_that_no_schedule_has(tmp_path: Path, name: str) -> None:
    refused(merge(*words(tmp_path, SIBLINGS[name])), tmp_path)


@pytest.mark.parametrize("name", [*FILES, "a truth value that is none", "phases in which each is the whole"])
def test_options_and_phases_in_yaml_are_read_alike(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.yaml").write_text({**FILES, **SIBLINGS}[name])
    cut = order(f"{tiny.__file__}:mlp", "--phases", tmp_path / "mine.yaml")
    for result in (cut, merge("--config", tmp_path / "mine.yaml")):
        assert result.code in (1, 2) and not result.traceback and len(result.err) < 1000, result.err[-2000:]
        assert "mine.yaml" in result.err
