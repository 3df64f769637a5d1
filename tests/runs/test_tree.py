"""More than two models: the tree, and the real command."""

import json
import math
from pathlib import Path

import pytest
import torch
from helpers import tiny
from hypothesis import given
from hypothesis import strategies as st
from llpf_merge.main import app
from llpf_merge.report import app as report_app
from llpf_plugin.merging.tree import Node, balanced, best
from llpf_plugin.report.tree_figure import Join, open_tree, save_tree
from typer.testing import CliRunner, Result

from llpf_plugin.checkpoint import read
from llpf_plugin.errors import LLPFError, RunError

TASK = f"{Path(tiny.__file__)}:conv"


@given(st.integers(1, 300))
def test_every_model_is_joined_and_none_too_often(count: int) -> None:
    root = balanced(count)
    pairs = list(root.pairs())
    assert len(pairs) == count - 1 and root.height == math.ceil(math.log2(count))
    ready = {Node(i, i) for i in range(count)}
    for pair in pairs:  # both halves are there when a pair is walked, and are used up by it
        ready -= set(pair.halves)
        ready.add(pair)
    assert ready == {root}


def test_a_tree_of_five_by_hand() -> None:
    assert [node.name for node in balanced(5).pairs()] == ["1-2", "1-3", "4-5", "1-5"]
    assert [half.name for half in balanced(5).halves[0].halves] == ["1-2", "3"]
    with pytest.raises(LLPFError, match="no model"):
        balanced(0)


def test_the_best_goes_on() -> None:
    assert best([("merged", 2.0), ("A", 0.5), ("B", 0.5)]) == "A"
    assert best([("merged", math.nan), ("A", 3.0)]) == "A"


def test_a_tree_is_kept_and_edits_are_refused(tmp_path: Path) -> None:
    scores = {"A": "1", "B": "2", "merged": "3"}
    joins = [Join(node, True, 0.1, 5, 1.0, scores) for node in balanced(3).pairs()]
    assert open_tree(tmp_path) is None
    save_tree(tmp_path, "abc", joins)
    assert open_tree(tmp_path) == (["a", "b", "c"], joins)
    save_tree(tmp_path, "abcd", joins)
    with pytest.raises(RunError, match="does not describe a tree of 4 models"):
        open_tree(tmp_path)
    (tmp_path / "tree.json").write_text("{")
    with pytest.raises(RunError, match="edited or damaged"):
        open_tree(tmp_path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    places = [folder / f"{name}.pt" for name in "abc"]
    for seed, place in enumerate(places):
        torch.save(tiny.trained("conv", seed), place)
    return places


def merge(models: list[Path], out: Path, *words: object) -> Result:
    line = [*models, "--task", TASK, "-o", out, "--device", "cpu", *words]
    return CliRunner().invoke(app, [str(w) for w in line], env={"COLUMNS": "200"})


def test_three_models_become_one_with_one_report(models: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "tree"
    result = merge(models, out, "--max-loss", 0.2)
    assert result.exit_code == 0, result.output
    assert "pair 2 of 2" in result.stdout and sorted(p.name for p in out.iterdir() if p.is_dir()) == ["1-2", "1-3"]
    page = (out / "report.html").read_text()
    assert "3 models joined" in page and "What was joined with what" in page and page.count('<section id="run') == 2
    assert not (out / "1-2" / "report.html").exists()
    # The second pair begins with what came of the first, and the tree's model is what came of the second.
    merged = [read(folder / "merged.pt").weights for folder in (out, out / "1-3", out / "1-2")]
    assert all(torch.equal(t, merged[1][k]) for k, t in merged[0].items())
    start = json.loads((out / "1-3" / "run.json").read_text())["info"]
    assert start["a"].endswith("1-2/merged.pt") and start["b"].endswith("c.pt")

    bits = (out / "merged.pt").read_bytes()
    taken = merge(models, out, "--max-loss", 0.2)
    assert taken.exit_code == 1 and "add --resume" in taken.stderr
    (out / "1-3" / "quality.json").unlink()
    again = merge(models, out, "--max-loss", 0.2, "--resume")
    assert again.exit_code == 0 and (out / "merged.pt").read_bytes() == bits, again.output

    shown = CliRunner().invoke(report_app, [str(out), "--metrics", "none", "--figures", "none"])
    assert shown.exit_code == 0 and "3 models joined" in (out / "report.html").read_text(), shown.output


def test_an_end_goes_on_where_a_pair_is_not_connected(models: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "tree"
    result = merge(models, out, "--max-loss", 0.2, "--budget", 1, "--phases", "all")
    assert result.exit_code == 3, result.output
    tree = open_tree(out)
    assert tree is not None and not tree[1][0].connected and tree[1][0].goes_on in "AB"
    start = json.loads((out / "1-3" / "run.json").read_text())["info"]["a"]
    assert Path(start) == models["AB".index(tree[1][0].goes_on)]


def test_bad_models_are_refused_before_any_walk(models: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "mlp.pt"
    torch.save(tiny.trained("mlp", 0), other)
    for wrong, words in (([*models, other], "mlp.pt"), ([*models, models[0]], "are the same model")):
        result = merge(wrong, tmp_path / "out")
        assert result.exit_code == 1 and words in result.stderr, result.output
        assert not (tmp_path / "out").exists()
    for word in ("--compare", "--ablate=order"):
        result = merge(models, tmp_path / "out", word)
        assert result.exit_code == 2 and "two checkpoints" in result.stderr
    dry = merge(models, tmp_path / "out", "--dry-run")
    assert dry.exit_code == 0 and "the first of 2 pairs" in dry.stdout and not (tmp_path / "out").exists()
