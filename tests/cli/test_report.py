"""``llpf report`` from the files of a run to the page."""

import html
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny
from helpers.commands import Result, merge
from helpers.commands import report as called
from helpers.refusals import refused
from helpers.run_folders import contents, edit, maximum, read

from llpf_cli.report import EXTRAS as OFFERED
from llpf_plugin.report import EXTRAS
from llpf_plugin.runs import open_run

MEASURED = ("--metrics", "none", "--figures", "none")


@pytest.fixture(scope="module")
def made(convs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of ``llpf merge``, report included; not to be changed."""
    out = tmp_path_factory.mktemp("made") / "run"
    words = [*convs, "--task", f"{tiny.__file__}:conv", "--max-loss", 0.2, "--device", "cpu"]
    result = merge(*words, "-o", out)
    assert result.code == 0 and f"report: {out}/report.html" in result.out, result.text
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def report(*words: object) -> Result:
    """Of runs whose task is not built in, as that of the tests."""
    return called(*words, "--device", "cpu", "--trust")


# ---- what comes out


def test_a_merge_writes_its_report(made: Path) -> None:
    page = (made / "report.html").read_text()
    assert "connected" in page and "Loss and accuracy along the path" in page and "What moved when" in page
    assert "Not measured here: plane" in page and not (made / "figures").exists()


def test_everything_is_measured_again_from_the_files(run: Path) -> None:
    before = read(run)
    result = report(run, "--metrics", "all", "--figures", "png,svg,pdf")
    assert result.code == 0 and result.err == "", result.text
    (again,) = read(run, "report")["runs"]
    train = again["metrics"]["train"]
    assert train["dense_maximum"]["value"] == pytest.approx(maximum(run)) and again["notes"] == []
    assert again["method"] == "llpf" and again["merged"]["t"] == before["merged"]["t"]
    assert train["saddle"]["value"] >= train["dense_maximum"]["value"] * 0.5
    assert len(again["layer_barriers"]) == 3 and again["plane"]["loss"] and again["sharpness"]["A"]["losses"]
    assert again["relative_flatness"]["A"]["value"] > 0 and again["diversity"]["validation"]["ends_error"] >= 0
    names = {"path", "distance", "moves", "variance", "plane", "search", "layers", "sharpness"}
    names |= {"diversity-validation", "diversity-test"}
    files = {p.name for p in (run / "figures").iterdir()}
    assert files == {f"{name}.{kind}" for name in names for kind in ("png", "svg", "pdf")}
    assert (run / "figures" / "path.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "figures" / "path.pdf").read_bytes().startswith(b"%PDF")
    ET.parse(run / "figures" / "plane.svg")
    assert "Not measured here" not in (run / "report.html").read_text()
    assert f"page: {run}/report.html" in result.out and f"figures: {run}/figures" in result.out


def test_the_metrics_that_are_offered_are_those_that_there_are() -> None:
    """The command lists them without importing the library's report."""
    assert OFFERED == EXTRAS


def test_some_metrics_alone(run: Path) -> None:
    assert report(run, "--metrics", "saddle, sharpness", "--figures", "none").code == 0
    (one,) = read(run, "report")["runs"]
    assert one["metrics"]["train"]["saddle"]["value"] > 0 and one["sharpness"] and not one["layer_barriers"]
    assert one["plane"] is None and not (run / "figures").exists()


@pytest.mark.usefixtures("pageless")
def test_points_and_sample_are_the_runs_own_or_those_that_are_given(run: Path) -> None:
    knots = len(read(run, "path")["knots"])
    assert report(run, *MEASURED).code == 0
    assert len(read(run, "report")["runs"][0]["points"]) == 4 * (knots - 1) + 1
    assert report(run, *MEASURED, "--points", 2, "--sample", 30).code in (0, 3)
    (one,) = read(run, "report")["runs"]
    assert len(one["points"]) == 2 * (knots - 1) + 1 and one["sample"] == 30


def test_a_report_elsewhere_changes_nothing_in_the_run(made: Path, tmp_path: Path) -> None:
    before = contents(made)
    assert report(made, "--metrics", "none", "--figures", "png", "-o", tmp_path / "out").code == 0
    assert contents(made) == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["figures", "report.html", "report.json"]


def test_the_page_needs_nothing_from_elsewhere(made: Path) -> None:
    page = (made / "report.html").read_text()
    links = re.findall(r'(?:src|href)="([^"]+)"|url\(([^)]+)\)|@import', page)
    assert links and all(link.startswith(("#", "data:")) for pair in links for link in pair if link)
    assert "<script" not in page
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert identifiers and len(identifiers) == len(set(identifiers))


@pytest.mark.usefixtures("pageless")
def test_json_for_machines(made: Path, tmp_path: Path) -> None:
    result = report(made, "--json", *MEASURED, "-o", tmp_path / "out")
    assert result.code == 0, result.text
    document = json.loads(result.out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert document["format"] == "llpf-report" and document["runs"][0]["plane"] is None
    assert document == read(tmp_path / "out", "report")
    assert "page: " in result.err


# ---- several runs


def test_runs_are_compared(made: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(made, tmp_path / "both" / name)
    edit(tmp_path / "both" / "two" / "run.json", lambda d: d["asked"].update(method="bezier"))
    edit(tmp_path / "both" / "two" / "path.json", lambda d: d["cost"].update(gradient_steps=999))
    out = tmp_path / "out"
    result = report(tmp_path / "both", "--metrics", "none", "--figures", "png", "-o", out)
    assert result.code == 0, result.text
    page = (out / "report.html").read_text()
    assert "2 paths compared" in page and page.index(">one<") < page.index(">two<")
    assert re.search(r'class="best">\s*<th scope="row">one', page)
    assert (out / "figures" / "frontier.png").is_file() and (out / "figures" / "run2-path.png").is_file()
    assert [r["method"] for r in read(out, "report")["runs"]] == ["llpf", "bezier"]


@pytest.mark.usefixtures("pageless")
def test_several_runs_go_to_a_folder_of_their_own(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made, tmp_path / "two")
    monkeypatch.chdir(tmp_path)
    assert report(made, "two", *MEASURED).code == 0
    assert Path("llpf-report/report.json").is_file() and not Path("two/report.json").exists()


def test_several_runs_of_a_method_are_summed_up(made: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(made, tmp_path / name)
    edit(tmp_path / "two" / "path.json", lambda d: d["cost"].update(goal=1e-9))
    result = report(tmp_path / "one", tmp_path / "two", *MEASURED, "-o", tmp_path / "out")
    assert result.code == 3 and "✓ one" in result.out and "✗ two" in result.out, result.text
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 of 2" in page and "runs: 2, pairs: 1" in page


def test_runs_of_different_tasks_are_not_compared(made: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(made, tmp_path / "other"))
    edit(other / "run.json", lambda d: d["asked"].update(task="cifar10/resnet8", task_arguments={"subset": 10}))
    refused(report(made, other), "report", "different tasks", "cifar10/resnet8 subset=10", "one at a time")


def test_a_run_that_is_named_twice(made: Path) -> None:
    refused(report(made, made), "report", "named twice")


# ---- undefined, and bad input


def test_undefined_metrics_say_so_in_their_cell(run: Path, tmp_path: Path) -> None:
    task = tmp_path / "bare.py"
    task.write_text(
        "from dataclasses import replace\nfrom helpers import tiny\n\n"
        "def task():\n    return replace(tiny.conv(), validation=None, test=None)\n"
    )
    result = report(run, "--task", f"{task}:task", "--metrics", "diversity", "--figures", "none")
    assert result.code in (0, 3), result.text
    page = (run / "report.html").read_text()
    assert page.count("the task has no validation data") >= 6 and "no test data" in page
    metrics = read(run, "report")["runs"][0]["metrics"]["validation"]
    assert metrics["integral"] == {"value": None, "why": "the task has no validation data"}
    assert "the task has no validation data" in result.out, "and in the terminal's"


def test_a_folder_that_holds_no_run(tmp_path: Path) -> None:
    refused(report(tmp_path), "report", "holds no run")
    refused(report(tmp_path / "nowhere"), "report", "is not a folder")


@pytest.mark.parametrize("missing", ["path.json", "buffers.safetensors", "state.json", "knots/000002.safetensors"])
def test_an_incomplete_run(run: Path, missing: str) -> None:
    (run / missing).unlink()
    words = ("no finished path", "resume") if missing == "path.json" else (Path(missing).name, "missing")
    refused(report(run), "report", *words)


def test_a_run_of_another_version(run: Path) -> None:
    edit(run / "run.json", lambda d: d.update(version=9))
    refused(report(run), "report", "llpf-run 9", "reads llpf-run 1")


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("path.json", lambda d: d.pop("knots")),
        ("state.json", lambda d: d.pop("progress")),
        ("run.json", lambda d: d.pop("asked")),
        ("run.json", lambda d: d["asked"]["search"].update(points="many")),
    ],
)
def test_a_run_edited_by_hand_beyond_reading(run: Path, file: str, change: Callable[[dict[str, Any]], object]) -> None:
    edit(run / file, change)
    refused(report(run), "report", "edited")


@pytest.mark.usefixtures("pageless")
def test_an_aligned_run_was_not_edited(asked_conv: list[object], tmp_path: Path) -> None:
    result = merge(*asked_conv, "--align", "always", "--method", "linear", "-o", tmp_path / "run")
    assert result.code in (0, 3), result.text
    report(tmp_path / "run", *MEASURED)
    (found,) = read(tmp_path / "run", "report")["runs"]
    assert found["notes"] == [] and found["alignment"] == read(tmp_path / "run")["alignment"]


def test_the_page_says_what_aligning_did(run: Path) -> None:
    sentence = open_run(run).alignment.sentence  # type: ignore[union-attr]
    assert report(run, *MEASURED).code == 0
    assert html.unescape((run / "report.html").read_text()).count(f"<p>{sentence}</p>") == 1
    edit(run / "run.json", lambda d: d["info"].pop("alignment"))
    assert report(run, *MEASURED).code == 0 and sentence not in html.unescape((run / "report.html").read_text())


def test_a_run_edited_by_hand_says_so_on_the_page(run: Path) -> None:
    edit(run / "quality.json", lambda d: d["metrics"]["train"]["dense_maximum"].update(value=1e-5))
    result = report(run, *MEASURED)
    assert result.code == 0, result.text
    (note,) = read(run, "report")["runs"][0]["notes"]
    assert "1e-05" in note and "a file was edited" in note
    assert note in result.out and "Notes" in (run / "report.html").read_text()


@pytest.mark.usefixtures("pageless")
def test_a_task_that_has_moved(run: Path, tmp_path: Path) -> None:
    edit(run / "run.json", lambda d: d["asked"].update(task="gone.py:task"))
    refused(report(run), "report", "gone.py", "--task", str(run))
    refused(report(run, "--task", "digits/resnet"), "report", "missing")
    assert report(run, *MEASURED, "--task", f"{tiny.__file__}:conv").code == 0


@pytest.mark.usefixtures("pageless")
def test_a_task_with_arguments_is_built_again_with_them(mlps: list[Path], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from helpers import tiny\n\ndef task(count):\n    assert count == 2\n    return tiny.mlp()\n"
    )
    words = [*mlps[:2], "--task", f"{tmp_path / 'mine.py'}:task", "-t", "count=2", "--max-loss", 0.2, "--no-report"]
    assert merge(*words, "-o", tmp_path / "run").code == 0
    assert report(tmp_path / "run", *MEASURED).code == 0
    refused(report(tmp_path / "run", "--task", f"{tmp_path / 'mine.py'}:task", "-t", "count=3"), "report", "mine.py")
