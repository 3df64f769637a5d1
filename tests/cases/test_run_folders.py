"""A run's folder is data: it is checked when it is read, nothing in it is called, and what is not a run's stays."""

import copy
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.checkpoint_samples import sharded
from helpers.commands import Result, merge, method, report
from safetensors.torch import load_file, save_file

from llpf_plugin import Task


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def stopped_run(asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that Ctrl-C stopped in the middle of its walk."""
    monkeypatch.setenv("STOP_AT", "80")
    result = merge(*asked, "-o", tmp_path / "stopped")
    monkeypatch.delenv("STOP_AT")
    assert result.code == 130 and not (tmp_path / "stopped" / "path.json").exists(), result.text
    return tmp_path / "stopped"


@pytest.fixture
def finished_run(asked: list[object], tmp_path: Path) -> Path:
    result = merge(*asked, "-o", tmp_path / "finished")
    assert result.code == 0, result.text
    return tmp_path / "finished"


def edits(document: dict[str, Any], depth: int = 2) -> Iterator[tuple[str, Any]]:
    """The document with each of its values taken out, and made an empty list, one at a time; and an empty one."""
    yield "all", {}
    for place in places(document, depth):
        for what in ("taken out", "a list"):
            edited = copy.deepcopy(document)
            inner = edited
            for key in place[:-1]:
                inner = inner[key]
            if what == "taken out":
                del inner[place[-1]]
            else:
                inner[place[-1]] = []
            yield f"{'.'.join(place)} {what}", edited


def places(value: Any, depth: int) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and depth > 0:
        for key, inner in value.items():
            yield (key,)
            yield from ((key, *rest) for rest in places(inner, depth - 1))


def refused_or_done(result: Result) -> bool:
    return not result.traceback and (result.code in (0, 3) or (result.code == 1 and len(result.err) < 1000))


def test_a_state_that_was_edited_by_hand(stopped_run: Path, asked: list[object], tmp_path: Path) -> None:
    wrong = []
    for name, document in edits(json.loads((stopped_run / "state.json").read_text())):
        shutil.copytree(stopped_run, tmp_path / "edited", dirs_exist_ok=True)
        (tmp_path / "edited" / "state.json").write_text(json.dumps(document))
        result = merge(*asked, "-o", tmp_path / "edited", "--resume")
        shutil.rmtree(tmp_path / "edited")
        if not refused_or_done(result) or (name == "all" and result.code != 1):
            wrong.append(f"{name}: exit {result.code}, {result.err.strip().splitlines()[-1:]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["path.json", "run.json"])
def test_a_finished_run_that_was_edited_by_hand(finished_run: Path, tmp_path: Path, name: str) -> None:
    wrong = []
    for what, document in edits(json.loads((finished_run / name).read_text()), depth=1):
        shutil.copytree(finished_run, tmp_path / "edited", dirs_exist_ok=True)
        (tmp_path / "edited" / name).write_text(json.dumps(document))
        result = report(tmp_path / "edited", "--metrics", "none", "--figures", "none")
        shutil.rmtree(tmp_path / "edited")
        if not refused_or_done(result):
            wrong.append(f"{what}: exit {result.code}, {result.err.strip().splitlines()[-1:]}")
    assert not wrong, "\n".join(wrong)


def test_knots_that_changed_after_the_run_are_noticed(finished_run: Path, asked: list[object]) -> None:
    before = (finished_run / "merged.pt").read_bytes()
    inner = json.loads((finished_run / "path.json").read_text())["knots"][1:3]
    for knot in inner:
        place = finished_run / "knots" / f"{knot:06d}.safetensors"
        save_file({name: tensor + 0.5 for name, tensor in load_file(place).items()}, place)
    result = merge(*asked, "-o", finished_run, "--resume")
    assert result.code == 1 and not result.traceback and f"{inner[0]:06d}" in result.err, result.text
    assert (finished_run / "merged.pt").read_bytes() == before


def task(command: str = "") -> Task:
    """A task with one argument, as that of the function that a forged folder names."""
    return tiny.mlp()


def test_a_run_folder_is_data_and_calls_nothing(asked: list[object], tmp_path: Path) -> None:
    asked[asked.index("--task") + 1] = spec = f"{__file__}:task"
    assert merge(*asked, "-t", "command=nothing", "-o", tmp_path / "run").code == 0
    for place in (tmp_path / "run").glob("*.*"):
        if place.suffix in (".json", ".yaml"):
            words = place.read_text().replace(spec, "os:system").replace('"nothing"', f'"touch {tmp_path / "called"}"')
            place.write_text(words)
    assert "os:system" in (tmp_path / "run" / "run.json").read_text()
    result = report(tmp_path / "run", "--metrics", "none", "--figures", "none")
    assert result.code == 1 and not result.traceback, result.text
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("what", ["three models", "--compare"])
def test_files_that_no_run_wrote_are_not_overwritten(asked: list[object], tmp_path: Path, what: str) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("merged.pt", "report.html", "tree.json", "compare.json", "quality.json"):
        (mine / name).write_text("mine")
    before = contents(mine)
    torch.save({"state_dict": tiny.trained("mlp", 3)}, tmp_path / "c.pt")
    words = [*asked[:2], tmp_path / "c.pt", *asked[2:]] if what == "three models" else [*asked, what]
    result = merge(*words, "--sample", 60, "--budget", 10, "-o", mine, "--resume")
    assert contents(mine) == before
    assert result.code == 1 and not result.traceback, result.text


def test_files_that_no_run_wrote_are_not_overwritten_by_a_merge_of_two(asked: list[object], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "merged.pt").write_text("mine")
    result = merge(*asked, "-o", tmp_path / "mine", "--resume")
    assert result.code == 1 and contents(tmp_path / "mine") == {"merged.pt": b"mine"}, result.text


def test_a_run_whose_merged_model_is_a_folder_with_a_card_is_resumed(tmp_path: Path) -> None:
    """Killed after the card was written; one that somebody wrote there is never replaced."""
    ends = [sharded(tmp_path / name, weights) for name, weights in zip("ab", tiny.pair("mlp"), strict=True)]
    words = [*ends, "--task", f"{tiny.__file__}:mlp", "--max-loss", 3, "--points", 1, "--no-report", *method("linear")]
    assert merge(*words, "-o", tmp_path / "run").code == 0
    card = tmp_path / "run" / "merged" / "README.md"
    (tmp_path / "run" / "quality.json").unlink()
    result = merge(*words, "-o", tmp_path / "run", "--resume")
    assert result.code == 0 and card.read_text().startswith("---\ntags:\n- merge\n"), result.text
    card.write_text("# Mine\n")
    (tmp_path / "run" / "quality.json").unlink()
    result = merge(*words, "-o", tmp_path / "run", "--resume")
    assert result.code == 1 and "README.md" in result.err and card.read_text() == "# Mine\n", result.text


def test_a_pipe_in_the_place_of_a_knot_is_refused(finished_run: Path, asked: list[object]) -> None:
    knot = finished_run / "knots" / "000000.safetensors"
    knot.unlink()
    os.mkfifo(knot)
    result = report(finished_run, "--task", asked[3])
    assert result.code == 1 and f"{knot} cannot be read: it is no regular file" in result.err, result.text
