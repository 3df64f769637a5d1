"""What else ranks do together: methods that train, trees, comparisons, the walk to the origin, loaders, dry runs."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from helpers import commands, felled, rank_work, ranks, tiny

pytestmark = pytest.mark.slow


ODD = """
from dataclasses import replace

import torch
from helpers import tiny
from llpf_plugin import classification

class Odd:
    repeatable = True

    def __init__(self, data):
        self.data = data

    def batch(self, *which):
        return (*self.data.batch(*which), torch.ones(5))

    def batches(self, *which):
        return ((x, y, torch.ones(5)) for x, y in self.data.batches(*which))

    def to(self, device):
        return self

    def __len__(self):
        return len(self.data)

def task():
    task = tiny.mlp()
    given = {split: Odd(getattr(task, split)) for split in ("train", "validation", "test")}
    return replace(task, objective=lambda model, batch: classification(model, batch[:2]), **given)
"""
"""A task whose batches hold a tensor that has no row for each example."""


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    for seed in (1, 2, 3):
        torch.save(tiny.trained("mlp", seed), tmp_path / f"{seed}.pt")
    return [str(tmp_path / f"{seed}.pt") for seed in (1, 2, 3)]


def two(words: Sequence[str], task: str = felled.TASK) -> commands.Result:
    """The first rank's result; the other's is as good, and says nothing."""
    first, other = ranks.run(rank_work.command, [*words, "--task", task], joins=False)
    assert other.code == 0 and first.code in (0, 3), first.text + other.text
    assert (other.out, other.err) == ("", "")
    return first


@pytest.mark.parametrize("method", ["sphere-curve", "bezier", "autoneb", "learned-matching", "finetune", "linear"])
def test_methods_that_train_find_the_path_of_one_process(method: str, models: list[str], tmp_path: Path) -> None:
    words = ["merge", *models[:2], "--method", method, "--budget", "120", "--align", "never", "--no-report"]
    both = [
        two([*words, "-o", str(tmp_path / "two")]),
        commands.llpf(*words, "--task", felled.TASK, "-o", tmp_path / "one"),
    ]
    assert both[0].code == both[1].code, both[0].text
    found = [json.loads((tmp_path / name / "quality.json").read_text()) for name in ("two", "one")]
    assert found[0]["gradient_steps"] == found[1]["gradient_steps"]
    maxima = [q["metrics"]["train"]["dense_maximum"]["value"] for q in found]
    assert maxima[0] == pytest.approx(maxima[1], rel=1e-2)


def test_a_run_that_was_stopped_goes_on_bit_by_bit_with_as_many_ranks(models: list[str], tmp_path: Path) -> None:
    words = ["merge", *models[:2], "--max-loss", "0.05", "--align", "never", "--no-report", "-m", "share=0.02"]
    asked = [*words, "--lr", "0.05", "--task", felled.TASK, "-o", str(tmp_path / "one")]
    told = {"FELL_RANK": "0", "FELL_AT": "40", "FELL_BY": "interrupt"}
    stopped = ranks.run(rank_work.command, asked, told, joins=False)
    assert [result.code for result in stopped] == [130, 130]
    again = ranks.run(rank_work.command, [*asked, "--resume"], joins=False)
    whole = ranks.run(rank_work.command, [*asked[:-1], str(tmp_path / "two")], joins=False)
    assert again[0].code == whole[0].code
    knots = [sorted((tmp_path / name / "knots").iterdir()) for name in ("one", "two")]
    assert [knot.name for knot in knots[0]] == [knot.name for knot in knots[1]] and len(knots[0]) > 5
    assert all(one.read_bytes() == two.read_bytes() for one, two in zip(*knots, strict=True))


def test_a_tree_of_three_and_its_report_and_that_it_is_resumed(models: list[str], tmp_path: Path) -> None:
    words = ["merge", *models, "-o", str(tmp_path / "run"), "--max-loss", "0.5"]
    first = two(words)
    assert first.code == 0 and (tmp_path / "run" / "report.html").is_file(), first.text
    merged = torch.load(tmp_path / "run" / "merged.pt")
    assert two([*words, "--resume"]).code == 0
    assert tiny.same(merged, torch.load(tmp_path / "run" / "merged.pt"))
    assert commands.llpf(*words, "--resume", "--task", felled.TASK).code == 0


def test_a_comparison(models: list[str], tmp_path: Path) -> None:
    first = two(["compare", *models[:2], "--methods", "llpf,linear", "-o", str(tmp_path / "run"), "--max-loss", "0.5"])
    assert first.code == 0 and (tmp_path / "run" / "report.html").is_file(), first.text
    rows = json.loads((tmp_path / "run" / "compare.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["llpf", "linear"]


def test_the_walk_to_the_origin(models: list[str], tmp_path: Path) -> None:
    words = ["origin", models[0], "--to", "0.8", "--max-loss", "0.5", "-o", str(tmp_path / "run")]
    first = two(words)
    assert first.code == 0 and (tmp_path / "run" / "report.html").is_file(), first.text
    assert two([*words, "--resume"]).code == 0


def test_what_every_process_would_draw_for_itself_the_first_one_draws(models: list[str], tmp_path: Path) -> None:
    first = two(["merge", *models[:2], "-o", str(tmp_path / "run"), "--max-loss", "0.5"], felled.LOADED)
    assert first.code == 0, first.text


def test_a_dry_run_writes_nothing(models: list[str], tmp_path: Path) -> None:
    first = two(["merge", *models[:2], "-o", str(tmp_path / "run"), "--dry-run"])
    assert first.code == 0 and "a gradient step takes" in first.out and not (tmp_path / "run").exists(), first.text


def test_batches_that_cannot_be_taken_apart_are_refused(models: list[str], tmp_path: Path) -> None:
    place = tmp_path / "task.py"
    place.write_text(ODD)
    words = ["merge", *models[:2], "-o", str(tmp_path / "run"), "--task", f"{place}:task"]
    first, other = ranks.run(rank_work.command, words, joins=False)
    assert (first.code, other.code, other.err) == (1, 1, "")
    assert "cannot be shared by 2 ranks" in first.err and not (tmp_path / "run").exists()
