"""What ``llpf merge`` says of a pair and of its merged model: on the console, in the run's files, on the page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.commands import llpf, merge, method, report
from helpers.run_folders import read
from torch import nn

from llpf_plugin import Task, TensorData
from llpf_plugin.evaluation import losses_on_line
from llpf_plugin.tasks import find

CASES = Path(__file__).parents[1] / "cases" / "test_merged_models.py"


@pytest.mark.parametrize(
    ("task", "words"), [("two_heads", "stay those of A: unused_head"), ("unscaled", "training mode")]
)
def test_what_was_found_stands_on_the_console_and_on_the_page(tmp_path: Path, task: str, words: str) -> None:
    model = find(f"{CASES}:{task}")().model
    for seed in (0, 1):
        torch.manual_seed(seed)
        weights = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
        torch.save(weights, tmp_path / f"{seed}.pt")
    asked = [tmp_path / "0.pt", tmp_path / "1.pt", "--task", f"{CASES}:{task}", "--tolerance", 1e6, "--device", "cpu"]
    result = merge(*asked, *method("linear"), "--points", 1, "-o", tmp_path / "run")
    assert result.code == 0 and result.out.count(words) == 1, result.text
    assert words in (tmp_path / "run" / "report.html").read_text()
    again = report(tmp_path / "run", "--metrics", "none", "--figures", "none", "--trust")
    assert again.code == 0 and words in again.text and words in (tmp_path / "run" / "report.html").read_text()


def test_the_merged_model_is_compared_with_the_ends(asked_conv: list[object], tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = merge(*asked_conv, *method("linear"), "-o", out)
    sentence = read(out)["merged"]["beside"]
    assert sentence.startswith("the merged model is ") and "on test data (" in sentence and sentence in result.out


def test_a_finetuned_run_is_read_again(asked_conv: list[object], tmp_path: Path) -> None:
    """Its path ends elsewhere; B is kept beside it."""
    out = tmp_path / "run"
    result = merge(*asked_conv, *method("finetune", steps=20), "-o", out)
    assert result.code == 3 and "does not lead to B" in result.out and "(t = 1.000)" in result.out, result.text
    before = read(out)
    assert report(out, "--metrics", "plane,diversity,layers,sharpness", "--figures", "none", "--trust").code == 3
    (after,) = json.loads((out / "report.json").read_text())["runs"]
    assert after["ends"] == before["ends"] and after["merged"]["scores"] == before["merged"]["scores"]
    assert not any("checkpoint" in note for note in after["notes"]), after["notes"]
    assert before["ends"]["B"] != before["ends"]["last"] and before["merged"]["t"] == 1


def line_fit() -> Task:
    """A task that its ends solve but for 4e-5."""
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    return Task(
        nn.Linear(2, 1, bias=False), TensorData(x, x[:, :1]), test=TensorData(x, x[:, :1]),
        objective=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
    )  # fmt: skip


@pytest.fixture
def fitted(tmp_path: Path) -> list[object]:
    """The words that ask for a merge of two models with losses of about 4e-5; ``-o`` is still to be said."""
    for name, slip in (("a", 0.006), ("b", -0.006)):
        torch.save({"weight": torch.tensor([[1.0, slip]])}, tmp_path / f"{name}.pt")
    ends = [tmp_path / "a.pt", tmp_path / "b.pt"]
    return [*ends, "--task", f"{__file__}:line_fit", "--tolerance", 1, "--device", "cpu", "--points", 1]


def test_small_losses_are_shown_with_their_digits(fitted: list[object], tmp_path: Path) -> None:
    one = merge(*fitted, *method("linear"), "-o", tmp_path / "run")
    both = llpf("compare", *fitted, "--methods", "linear,bezier", "--budget", 10, "-o", tmp_path / "both")
    assert one.code == both.code == 0, one.text + both.text
    loss = read(tmp_path / "run")["ends"]["A"]["train"]
    assert 1e-5 < loss < 1e-4
    for shown in (one.out, both.out):
        assert f"{loss:.4g}" in shown and "e-05" in f"{loss:.4g}" and "0.0000" not in shown
    assert f"{loss:.3g}" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("command", ["merge", "compare"])
def test_the_straight_line_is_measured_and_shown_once(
    fitted: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    calls = []

    def counted(*args: Any, **options: Any) -> list[float]:
        calls.append(args)
        return losses_on_line(*args, **options)

    for place in ("llpf_plugin.merging.reorder", "llpf_plugin.report.measure"):
        monkeypatch.setattr(f"{place}.losses_on_line", counted)
    more = ["--methods", "linear,bezier", "--budget", 10] if command == "compare" else method("linear")
    result = llpf(command, *fitted, *more, "-o", tmp_path / "out")
    assert result.code == 0 and (tmp_path / "out" / "report.html").is_file(), result.text
    assert len(calls) == 1 and result.out.count("the straight line has training loss") == 1


def test_the_time_of_the_whole_run_is_stated_beside_that_of_the_search(fitted: list[object], tmp_path: Path) -> None:
    result = merge(*fitted, *method("linear"), "-o", tmp_path / "run")
    search, whole = (float(re.findall(rf"([\d.]+) s {what}", result.out)[0]) for what in ("of search", "in all"))
    assert 0 <= search < whole
