"""``llpf merge`` of more than two models."""

from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, merge, report
from helpers.refusals import USAGE, refused
from helpers.run_folders import bits, read

from llpf_plugin import checkpoint
from llpf_plugin.runs import open_tree

TASK = f"{tiny.__file__}:mlp"


def joined(models: list[Path], out: Path, *words: object) -> Result:
    return merge(*models, "--task", TASK, "-o", out, "--device", "cpu", "--points", 1, *words)


def test_three_models_become_one_with_one_report(mlps: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "tree"
    result = joined(mlps, out, "--max-loss", 0.3)
    assert result.code == 0, result.text
    assert "pair 2 of 2" in result.out and sorted(p.name for p in out.iterdir() if p.is_dir()) == ["1-2", "1-3"]
    page = (out / "report.html").read_text()
    assert "3 models joined" in page and "What was joined with what" in page and page.count('<section id="run') == 2
    assert not (out / "1-2" / "report.html").exists()
    # The second pair begins with what came of the first, and the tree's model is what came of the second.
    merged = [checkpoint.read(folder / "merged.pt").weights for folder in (out, out / "1-3", out / "1-2")]
    assert all(torch.equal(t, merged[1][k]) for k, t in merged[0].items())
    start = read(out / "1-3", "run")["info"]
    assert start["a"].endswith("1-2/merged.pt") and start["b"].endswith("c.pt")
    assert (out / "config.yaml").is_file() and not (out / "1-2" / "config.yaml").exists()

    before = bits(out)
    refused(joined(mlps, out, "--max-loss", 0.3), "merge", "add --resume")
    (out / "1-3" / "quality.json").unlink()
    again = joined(mlps, out, "--max-loss", 0.3, "--resume", "--no-report")
    assert again.code == 0 and bits(out) == before, again.text

    shown = report(out, "--trust", "--metrics", "none", "--figures", "none")
    assert shown.code == 0 and "3 models joined" in (out / "report.html").read_text(), shown.text


def test_an_end_advances_where_a_pair_is_not_connected(mlps: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "tree"
    result = joined(mlps, out, "--max-loss", 0.2, "--budget", 1, "-m", "phases=all", "--no-report")
    assert result.code == 3, result.text
    tree = open_tree(out)
    assert tree is not None and not tree[1][0].connected and tree[1][0].goes_on in "AB"
    assert Path(read(out / "1-3", "run")["info"]["a"]) == mlps["AB".index(tree[1][0].goes_on)]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    torch.save(tiny.trained("conv", 0), tmp_path / "conv.pt")
    return tmp_path / "conv.pt"


def test_bad_models_are_refused_before_any_walk(mlps: list[Path], other: Path, tmp_path: Path) -> None:
    for wrong, words in (([*mlps, other], "conv.pt"), ([*mlps, mlps[0]], "are the same model")):
        refused(joined(wrong, tmp_path / "out"), "merge", words)
        assert not (tmp_path / "out").exists()
    refused(joined(mlps, tmp_path / "out", "--compare"), "compare", "two checkpoints", code=USAGE)


def test_a_dry_run_is_about_the_first_pair(mlps: list[Path], tmp_path: Path) -> None:
    dry = joined(mlps, tmp_path / "out", "--dry-run")
    assert dry.code == 0 and "the first of 2 pairs" in dry.out and not (tmp_path / "out").exists()
