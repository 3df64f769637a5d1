"""``llpf origin``: from a checkpoint down its variance spheres."""

from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, llpf, report
from helpers.refusals import refused
from helpers.run_folders import read, record

from llpf_plugin import checkpoint
from llpf_plugin.geometry.sphere import variance


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two networks of which the second lies on smaller spheres."""
    places = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for place, weights in zip(places, tiny.apart("conv"), strict=True):
        torch.save({"state_dict": weights}, place)
    return places


def origin(*words: object) -> Result:
    words = (*words, "--task", f"{tiny.__file__}:conv", "--tolerance", 0.2, "--device", "cpu")
    return llpf("origin", *words)


def test_a_walk_to_a_part_of_the_variance(pair: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = origin(pair[0], "--to", 0.5, "-o", out)
    assert result.code == 0 and result.err == "", result.text
    assert "3 layers walk" in result.out and "0.5 to 0.5 of the variance" in result.out
    a, last = (checkpoint.read(place).weights for place in (pair[0], out / "merged.pt"))
    assert variance(last["fc.weight"]) == pytest.approx(0.5 * variance(a["fc.weight"]), rel=1e-3)
    assert (out / "path.png").is_file() and (out / "report.html").is_file()
    document = read(out, "run")
    assert document["asked"]["b"] == "origin" and document["asked"]["to"] == "0.5"
    assert document["info"]["a"] == str(pair[0]) and document["info"]["b"] == "origin"


@pytest.mark.usefixtures("pageless")
def test_a_report_says_what_the_walk_said(pair: list[Path], tmp_path: Path) -> None:
    assert origin(pair[0], "--to", 0.5, "--no-report", "-o", tmp_path / "run").code == 0
    again = report(tmp_path / "run", "--trust", "--figures", "none", "--metrics", "none", "--device", "cpu")
    assert again.code == 0, again.text
    assert "not connected" not in again.text and "edited" not in again.text


def test_a_walk_to_the_spheres_of_another_model(pair: list[Path], tmp_path: Path) -> None:
    result = origin(pair[0], "--to", pair[1], "--no-report", "-o", tmp_path / "run")
    assert result.code == 0, result.text
    b, last = (checkpoint.read(place).weights for place in (pair[1], tmp_path / "run" / "merged.pt"))
    for name in ("conv1.weight", "fc.weight"):
        assert variance(last[name]) == pytest.approx(variance(b[name]), rel=1e-3)


def test_it_stops_after_so_many_ticks(pair: list[Path], tmp_path: Path) -> None:
    assert origin(pair[0], "--ticks", 2, "--no-report", "-o", tmp_path / "run").code == 0
    assert len(record(tmp_path / "run")) == 2


def test_another_point_can_be_written(pair: list[Path], tmp_path: Path) -> None:
    assert origin(pair[0], "--to", 0.5, "--pick", 0.25, "--no-report", "-o", tmp_path / "run").code == 0
    assert read(tmp_path / "run")["merged"]["t"] == 0.25


def test_settings_of_the_walk(pair: list[Path], tmp_path: Path) -> None:
    words = [pair[0], "--to", 0.5, "--no-report"]
    assert origin(*words, "-o", tmp_path / "plain").code == 0
    assert set(record(tmp_path / "plain")[0]["scaled"]) == {"conv1.weight", "conv2.weight"}
    assert origin(*words, "-m", "exact_legs=false", "-m", "min_steps=5", "-o", tmp_path / "told").code == 0
    ticks = record(tmp_path / "told")
    assert all(tick["scaled"] == [] and tick["steps"] >= 5 for tick in ticks if tick["kept"])


def test_a_dry_run_runs_nothing(pair: list[Path], tmp_path: Path) -> None:
    result = origin(pair[0], "--dry-run", "-o", tmp_path / "run")
    assert result.code == 0 and "3 layers walk" in result.out and "a gradient step takes" in result.out, result.text
    assert not (tmp_path / "run").exists()


def test_growing_is_refused_with_the_reason_and_the_remedy(pair: list[Path], tmp_path: Path) -> None:
    refused(origin(pair[1], "--to", pair[0], "-o", tmp_path / "run"), "origin", "swap the two models")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_in_use_is_refused(pair: list[Path], tmp_path: Path) -> None:
    refused(origin(pair[0], "-o", tmp_path), "origin", "not an empty folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pt", "b.pt"]
