"""Methods, alignment, comparison and ablation through the real ``llpf-merge``."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from helpers import tiny
from llpf_merge.main import app
from llpf_plugin.search.settings import Method
from typer.testing import CliRunner, Result

from llpf_plugin.checkpoint import read

TASK = f"{Path(tiny.__file__)}:conv"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    places = (tmp_path / "a.pt", tmp_path / "b.pt")
    for place, weights in zip(places, tiny.pair("conv"), strict=True):
        torch.save(weights, place)
    return places


def merge(pair: tuple[Path, Path], out: Path, *words: object) -> Result:
    line = [*pair, "--task", TASK, "-o", out, "--device", "cpu", *words]
    return CliRunner().invoke(app, [str(w) for w in line], env={"COLUMNS": "200"})


def test_a_curve_in_place_of_a_walk(pair: tuple[Path, Path], tmp_path: Path) -> None:
    result = merge(pair, tmp_path / "run", "--method", "sphere-curve", "--steps", 80, "--control", 2)
    assert result.exit_code == 0, result.output
    assert "80 gradient steps" in result.stdout and "ends at B by construction" in result.stdout
    asked = json.loads((tmp_path / "run" / "run.json").read_text())
    assert asked["asked"]["settings"]["method"] == "sphere-curve" and "--control 2" in asked["info"]["command"]
    assert (tmp_path / "run" / "merged.pt").is_file()


def test_alignment_before_averaging(pair: tuple[Path, Path], tmp_path: Path) -> None:
    plain = merge(pair, tmp_path / "plain", "--method", "linear")
    aligned = merge(pair, tmp_path / "aligned", "--method", "linear", "--align", "--pick", "end")
    assert "B aligned to A: 14 units in 2 groups" in aligned.stdout and "left alone: fc.weight" in aligned.stdout
    assert "aligned" not in plain.stdout
    losses = [json.loads((tmp_path / run / "quality.json").read_text())["mean"] for run in ("plain", "aligned")]
    assert losses[1] < losses[0]
    ends = json.loads((tmp_path / "aligned" / "quality.json").read_text())["ends"]
    assert ends["B"]["test"] == pytest.approx(
        json.loads((tmp_path / "plain" / "quality.json").read_text())["ends"]["B"]["test"], abs=1e-5
    )
    assert read(tmp_path / "aligned" / "merged.pt").weights.keys() == tiny.pair("conv")[0].keys()


def test_all_methods_side_by_side_and_resumable(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "compared"
    result = merge(pair, out, "--compare", "--max-loss", 0.15)
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row for row in json.loads((out / "compare.json").read_text())["rows"]}
    assert list(rows) == list(get_args(Method))
    page = (out / "report.html").read_text()
    assert page.count('<section id="run') == len(rows) and "What it cost, and what it reached" in page
    assert not (out / "llpf" / "report.html").exists()
    taken = rows["llpf"]["steps"]
    assert [rows[m]["steps"] for m in ("sphere-curve", "bezier", "autoneb", "finetune", "linear")] == [taken] * 4 + [0]
    assert rows["llpf"]["connected"] and not rows["finetune"]["connected"]
    for name, row in rows.items():
        assert (
            name in result.stdout and row["maximum"] == json.loads((out / name / "quality.json").read_text())["maximum"]
        )

    taken_again = merge(pair, out, "--compare", "--max-loss", 0.15)
    assert taken_again.exit_code == 1 and "add --resume" in taken_again.stderr
    (out / "linear" / "quality.json").unlink()
    again = merge(pair, out, "--compare", "--max-loss", 0.15, "--resume")
    assert again.exit_code == 0, again.output
    for row in json.loads((out / "compare.json").read_text())["rows"]:
        assert (row["maximum"], row["steps"]) == (rows[row["name"]]["maximum"], rows[row["name"]]["steps"])
    other = merge(pair, out, "--compare", "--max-loss", 0.2, "--resume")
    assert other.exit_code == 1 and "holds another run" in other.stderr


def test_a_folder_that_is_in_use_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    result = merge(pair, tmp_path / "out", "--compare")
    assert result.exit_code == 1 and "not an empty folder" in result.stderr


def test_ablations_leave_out_one_part_at_a_time(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "ablated"
    result = merge(pair, out, "--ablate", "order,variance,settle", "--max-loss", 0.2, "--budget", 300)
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row for row in json.loads((out / "compare.json").read_text())["rows"]}
    assert list(rows) == ["whole", "without-order", "without-variance", "without-settle"]
    assert rows["without-settle"]["maximum"] > rows["whole"]["maximum"]
    settings = {name: json.loads((out / name / "run.json").read_text())["asked"]["settings"] for name in rows}
    assert settings["without-order"]["order"] == "reversed" and settings["without-order"]["phases"] == "stage"
    assert settings["without-variance"]["correct"] == "none" and settings["without-settle"]["settle"] is False
    command = json.loads((out / "without-settle" / "run.json").read_text())["info"]["command"]
    assert "--no-settle" in command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ablate", "speed"), "order, variance, settle"),
        (("--ablate", "order", "--method", "linear"), "leave --method out"),
        (("--steps", "10"), "no given number of gradient steps"),
    ],
)
def test_bad_requests_are_explained(
    pair: tuple[Path, Path], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = merge(pair, tmp_path / "run", *words)
    assert result.exit_code == 1 and message in result.stderr and "Traceback" not in result.output


def test_an_unknown_method_is_wrong_usage(pair: tuple[Path, Path], tmp_path: Path) -> None:
    result = merge(pair, tmp_path / "run", "--method", "magic")
    assert result.exit_code == 2 and "magic" in result.stderr
