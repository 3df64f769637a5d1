"""What ``llpf merge`` says of a pair and of its merged model: on the console, in the run's files, on the page."""

import json
from pathlib import Path

import pytest
import torch
from helpers.commands import merge, method, report
from helpers.run_folders import read

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
