"""``llpf-report`` from the files of a run to the page in a browser."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny
from llpf_merge.main import app as merge_app
from llpf_merge.report import app
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from llpf_plugin.errors import RunError
from llpf_plugin.files import plain
from llpf_plugin.report.extra_figures import walk_figure
from llpf_plugin.report.format import duration, number
from llpf_plugin.report.tables import metric_cell
from llpf_plugin.runs.read import name_runs, open_run

TASK = f"{Path(tiny.__file__)}:conv"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `llpf-merge`, report included; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    for name, weights in zip(("a.pt", "b.pt"), tiny.pair("conv"), strict=True):
        torch.save(weights, folder / name)
    words = [folder / "a.pt", folder / "b.pt", "--task", TASK, "-o", folder / "run", "--max-loss", 0.2]
    result = CliRunner().invoke(merge_app, [*map(str, words), "--device", "cpu"])
    assert result.exit_code == 0 and "report: " in result.stdout, result.output
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def report(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--device", "cpu"], env={"COLUMNS": "200"})


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output and result.stderr.startswith("llpf-report: ")
    for word in words:
        assert word in result.stderr, result.stderr


def edit(place: Path, change: Callable[[dict], object]) -> None:
    document = json.loads(place.read_text())
    change(document)
    place.write_text(json.dumps(document))


# ---- what comes out


def test_a_merge_writes_its_report(made: Path) -> None:
    page = (made / "report.html").read_text()
    assert "connected" in page and "Loss and accuracy along the path" in page and "What moved when" in page
    assert "Not measured here: plane" in page and not (made / "figures").exists()


def test_no_report_where_none_is_wanted(made: Path, tmp_path: Path) -> None:
    words = [made.parent / "a.pt", made.parent / "b.pt", "--task", TASK, "-o", tmp_path / "run", "--max-loss", 0.2]
    result = CliRunner().invoke(merge_app, [*map(str, words), "--no-report", "--device", "cpu", "--budget", "3"])
    assert result.exit_code == 3 and not (tmp_path / "run" / "report.html").exists()
    command = json.loads((tmp_path / "run" / "run.json").read_text())["info"]["command"]
    assert "--no-report" in command


def test_everything_is_measured_again_from_the_files(run: Path) -> None:
    before = json.loads((run / "quality.json").read_text())
    result = report(run, "--metrics", "all", "--figures", "png,svg,pdf")
    assert result.exit_code == 0, result.output
    (again,) = json.loads((run / "report.json").read_text())["runs"]
    assert again["maximum"] == pytest.approx(before["maximum"]) and again["notes"] == []
    assert again["method"] == "llpf" and again["merged"]["t"] == before["merged"]["t"]
    assert again["metrics"]["train"]["saddle"]["value"] >= again["metrics"]["train"]["dense_maximum"]["value"] * 0.5
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


def test_the_page_needs_nothing_from_elsewhere(made: Path) -> None:
    page = (made / "report.html").read_text()
    links = re.findall(r'(?:src|href)="([^"]+)"|url\(([^)]+)\)|@import', page)
    assert all(link.startswith(("#", "data:")) for pair in links for link in pair if link)
    assert "<script" not in page
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))


def test_json_for_machines(made: Path, tmp_path: Path) -> None:
    result = report(made, "--json", "--metrics", "none", "--figures", "none", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert document["format"] == "llpf-report" and document["runs"][0]["plane"] is None
    assert document == json.loads((tmp_path / "out" / "report.json").read_text())
    assert "page: " in result.stderr


def test_runs_are_compared(made: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(made, tmp_path / "both" / name)
    edit(tmp_path / "both" / "two" / "run.json", lambda d: d["asked"]["settings"].update(method="bezier"))
    edit(tmp_path / "both" / "two" / "path.json", lambda d: d["cost"].update(gradient_steps=999))
    out = tmp_path / "out"
    result = report(tmp_path / "both", "--metrics", "none", "--figures", "png", "-o", out)
    assert result.exit_code == 0, result.output
    page = (out / "report.html").read_text()
    assert "2 paths compared" in page and page.index(">one<") < page.index(">two<")
    assert re.search(r'class="best">\s*<th scope="row">one', page)
    assert (out / "figures" / "frontier.png").is_file() and (out / "figures" / "run2-path.png").is_file()
    assert [r["method"] for r in json.loads((out / "report.json").read_text())["runs"]] == ["llpf", "bezier"]


def test_several_runs_of_a_method_are_summed_up(made: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(made, tmp_path / name)
    edit(tmp_path / "two" / "path.json", lambda d: d["cost"].update(goal=1e-9))
    out = tmp_path / "out"
    words = ("--metrics", "none", "--figures", "none", "-o", out)
    assert report(tmp_path / "one", tmp_path / "two", *words).exit_code == 3
    page = (out / "report.html").read_text()
    assert "1 of 2" in page and "2 runs, 1 pairs" in page


# ---- undefined, and bad input


def test_undefined_metrics_say_so_in_their_cell(run: Path, tmp_path: Path) -> None:
    task = tmp_path / "bare.py"
    task.write_text(
        "from dataclasses import replace\nfrom helpers import tiny\n\n"
        "def task():\n    return replace(tiny.conv(), validation=None, test=None)\n"
    )
    result = report(run, "--task", f"{task}:task", "--metrics", "diversity", "--figures", "none")
    assert result.exit_code in (0, 3), result.output
    page = (run / "report.html").read_text()
    assert page.count("the task has no validation data") >= 6 and "no test data" in page
    metrics = json.loads((run / "report.json").read_text())["runs"][0]["metrics"]["validation"]
    assert metrics["integral"] == {"value": None, "why": "the task has no validation data"}


def test_a_folder_that_holds_no_run(tmp_path: Path) -> None:
    refused(report(tmp_path), "holds no run")
    refused(report(tmp_path / "nowhere"), "is no folder")


@pytest.mark.parametrize("missing", ["path.json", "buffers.safetensors", "state.json", "knots/000002.safetensors"])
def test_an_incomplete_run(run: Path, missing: str) -> None:
    (run / missing).unlink()
    words = ("no finished path", "resume") if missing == "path.json" else (Path(missing).name, "missing")
    refused(report(run), *words)


def test_a_run_of_another_version(run: Path) -> None:
    edit(run / "run.json", lambda d: d.update(version=9))
    refused(report(run), "llpf-run 9", "reads llpf-run 1")
    edit(run / "run.json", lambda d: d.update(version=1))
    edit(run / "path.json", lambda d: d.update(version=9))
    refused(report(run), "path.json", "version 9")


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("path.json", lambda d: d.pop("knots")),
        ("path.json", lambda d: d.update(knots=[0])),
        ("path.json", lambda d: d.update(knots=["zero", "one"])),
        ("path.json", lambda d: d.update(labels=[])),
        ("path.json", lambda d: d.update(outcome="WON")),
        ("state.json", lambda d: d.pop("progress")),
        ("run.json", lambda d: d["asked"]["settings"].update(points="many")),
        ("run.json", lambda d: d.pop("asked")),
    ],
)
def test_a_run_edited_by_hand_beyond_reading(run: Path, file: str, change: Callable[[dict], object]) -> None:
    edit(run / file, change)
    refused(report(run), "edited")


def test_a_run_edited_by_hand_that_can_be_read(run: Path) -> None:
    knot = run / "knots" / "000001.safetensors"
    save_file({k: 1.02 * t for k, t in load_file(knot).items()}, knot)
    edit(run / "quality.json", lambda d: d.update(maximum=1e-5))
    result = report(run, "--metrics", "none", "--figures", "none")
    assert result.exit_code in (0, 3), result.output
    notes = json.loads((run / "report.json").read_text())["runs"][0]["notes"]
    assert any("end B is not the checkpoint" in n for n in notes) and any("positions" in n for n in notes)
    assert any("1e-05" in n for n in notes) and "To be known" in (run / "report.html").read_text()


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_verdict_that_cannot_be_read_is_a_note(run: Path, text: str) -> None:
    (run / "quality.json").write_text(text)
    assert any("quality.json" in note for note in open_run(run).notes)


def test_runs_of_different_tasks_are_not_compared(made: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(made, tmp_path / "other"))
    edit(other / "run.json", lambda d: d["asked"].update(task="cifar10/resnet8", task_arguments={"subset": 10}))
    refused(report(made, other), "different tasks", "cifar10/resnet8 subset=10", "one at a time")


def test_a_task_that_has_moved(run: Path) -> None:
    edit(run / "run.json", lambda d: d["asked"].update(task="gone.py:task"))
    refused(report(run), "gone.py", "--task")
    refused(report(run, "--task", "digits/resnet"), "missing")


def test_wrong_usage(made: Path) -> None:
    for words in (("--metrics", "beauty"), ("--figures", "gif")):
        result = report(made, *words)
        assert result.exit_code == 2 and words[1] in result.stderr
    refused(report(made, made), "named twice")


# ---- small parts


def test_names_are_the_shortest_that_differ() -> None:
    folders = [Path("/x/one/run"), Path("/x/two/run"), Path("/y/two/run")]
    assert name_runs(folders[:2]) == ["one/run", "two/run"]
    assert name_runs(folders) == ["x/one/run", "x/two/run", "y/two/run"]
    with pytest.raises(RunError, match="twice"):
        name_runs([folders[0], folders[0]])


def test_json_has_neither_nan_nor_infinity() -> None:
    assert plain({"a": np.array([1.0, np.nan]), "b": (np.int64(3), float("inf")), 4: None}) == {
        "a": [1.0, None], "b": [3, None], "4": None,
    }  # fmt: skip


def test_words_for_numbers() -> None:
    assert [number(v) for v in (None, float("inf"), 1234, 0.04567, 12345.6)] == [
        "not recorded", "not finite", "1,234", "0.0457", "12,346",
    ]  # fmt: skip
    assert [duration(s) for s in (None, 5, 600, 7200)] == ["time not recorded", "5.0 s", "10 min", "2.0 h"]
    from llpf_plugin.quality import Metric

    assert metric_cell(Metric(0.25), "share") == ("25.00 %", "") and metric_cell(Metric(90), "degrees")[0] == "90°"
    assert metric_cell(Metric(None, "because"), "loss") == ("", "because")


# ---- TensorBoard


def test_a_run_can_be_watched(made: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    words = [made.parent / "a.pt", made.parent / "b.pt", "--task", TASK, "-o", tmp_path / "run", "--max-loss", 0.2]
    result = CliRunner().invoke(merge_app, [*map(str, words), "--tensorboard", "--no-report", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    log = events.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    log.Reload()
    record = json.loads((tmp_path / "run" / "state.json").read_text())["progress"]["record"]
    gaps = log.Scalars("search/gap")
    assert [e.step for e in gaps] == [r["gradient_steps"] for r in record]
    assert [e.value for e in gaps] == pytest.approx([r["gap"] for r in record])
    verdict = json.loads((tmp_path / "run" / "quality.json").read_text())
    assert max(e.value for e in log.Scalars("path/train")) == pytest.approx(verdict["maximum"])
    assert len(log.Scalars("path/train")) == len(verdict["points"])


def test_without_tensorboard_the_remedy_is_named(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    words = [made.parent / "a.pt", made.parent / "b.pt", "--task", TASK, "-o", tmp_path / "run", "--tensorboard"]
    result = CliRunner().invoke(merge_app, [*map(str, words), "--device", "cpu"])
    assert result.exit_code == 1 and "llpf-plugin[tensorboard]" in result.stderr


def test_without_jinja_the_merge_succeeds(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    words = [made.parent / "a.pt", made.parent / "b.pt", "--task", TASK, "-o", tmp_path / "run", "--budget", 3]
    result = CliRunner().invoke(merge_app, [*map(str, words), "--device", "cpu"])
    assert result.exit_code == 3 and "no report" in result.stdout and "jinja2" in result.stdout


def test_walkers_from_both_sides_have_a_line_each() -> None:
    record = [{"gap": 4.0 - i, "settled_loss": 0.1, "gradient_steps": i, "side": "AB"[i % 2]} for i in range(4)]
    for ticks, lines, legend in ((record, [2, 2], True), ([{**r, "side": "A"} for r in record], [4, 0], False)):
        figure = walk_figure(ticks)
        assert figure is not None
        above = figure.axes[0]
        assert [len(line.get_xdata()) for line in above.lines] == lines
        assert (above.get_legend() is not None) is legend
