"""Runs of earlier versions: a report opens them, and ``--resume`` says which version wrote them."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.commands import merge, report

from llpf_plugin.runs import open_run

HERE = Path(__file__).parent
ENDS = [HERE / "first_edition-a.pt", HERE / "first_edition-b.pt"]
TASK = ["--task", "digits/mlp", "-t", "width=12", "-t", "depth=2"]


@pytest.fixture
def first_edition(tmp_path: Path) -> Path:
    """A run that version 0.1 wrote: ``llpf-merge a b --task digits/mlp … --tolerance 0.3 --points 2 --sample 300``."""
    return Path(shutil.copytree(HERE / "first_edition", tmp_path / "first_edition"))


def test_a_report_measures_it_again(first_edition: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    result = report(first_edition, "--metrics", "none", "--figures", "none", "--device", "cpu")
    assert result.code == 0, result.text
    (again,) = json.loads((first_edition / "report.json").read_text())["runs"]
    before = json.loads((first_edition / "quality.json").read_text())
    assert again["method"] == "llpf" and again["notes"] == []
    found = again["metrics"]["train"]["dense_maximum"]["value"]
    assert found == pytest.approx(before["maximum"], rel=0.15)  # its sample was the first examples, not drawn
    assert again["cost"]["gradient_steps"] == 41


def test_what_was_asked_is_read_in_the_words_of_today() -> None:
    run = open_run(HERE / "first_edition")
    assert run.method == "llpf" and run.task == ("digits/mlp", {"width": 12, "depth": 2})
    assert run.settings["tolerance"] == 0.3 and run.settings["points"] == 2 and run.settings["share"] == 0.1


def test_resuming_it_names_the_version_that_wrote_it(first_edition: Path) -> None:
    before = {p: p.read_bytes() for p in first_edition.rglob("*") if p.is_file()}
    result = merge(*ENDS, *TASK, "-o", first_edition, "--tolerance", 0.3, "--points", 2, "--sample", 300, "--resume")
    assert result.code == 1 and "llpf-plugin 0.1" in result.err and "report" in result.err, result.text
    assert {p: p.read_bytes() for p in first_edition.rglob("*") if p.is_file()} == before
