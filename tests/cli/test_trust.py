"""Folders and configuration files are data: what they name is built where it is built in, or the user names it too."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import tiny
from helpers.commands import llpf, merge, process, report
from helpers.refusals import USAGE, refused
from helpers.run_folders import edit, read

MEASURED = ("--metrics", "none", "--figures", "none", "--device", "cpu")

MARKED = """
from pathlib import Path
from helpers import tiny
from llpf_plugin.methods import Linear

Path("imported").touch()

def task(count=1):
    Path("called").write_text(str(count))
    return tiny.mlp()

def method():
    return Linear()

class Mine(Linear):
    "The straight line."
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with code that leaves a mark where it is imported, and another where it is called."""
    (tmp_path / "marked.py").write_text(MARKED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(asked: list[object]) -> Path:
    """A finished run whose folder names that code."""
    asked[asked.index("--task") + 1] = "marked.py:task"
    assert merge(*asked, "-t", "count=3", "--method", "marked.py:Mine", "-o", "run").code in (0, 3)
    return without_marks(Path("run"))


def without_marks(folder: Path) -> Path:
    for name in ("imported", "called"):
        Path(name).unlink(missing_ok=True)
    return folder


def untouched() -> bool:
    return not Path("imported").exists() and not Path("called").exists()


@pytest.mark.parametrize("command", ["align", "merge"])
def test_a_file_that_names_a_model_without_data_runs_no_code(command: str, mlps: list[Path]) -> None:
    document = {"command": command, "models": [str(place) for place in mlps[:2]], "model": "marked.py:task", "out": "o"}
    Path("file.yaml").write_text(yaml.safe_dump({**document, **({"method": "linear"} if command == "merge" else {})}))
    refused(llpf("--config", "file.yaml"), "", "marked.py:task", "--trust", code=USAGE)
    assert untouched()
    result = llpf("--config", "file.yaml", "--trust")
    assert result.code == 0 and Path("called").exists(), result.text


# ---- run folders


@pytest.mark.usefixtures("pageless")
def test_a_report_calls_nothing_that_the_folder_names_alone(run: Path) -> None:
    refused(report(run, *MEASURED), "report", "names the task marked.py:task", "--task marked.py:task", "--trust")
    assert untouched() and not (run / "report.json").exists()
    assert report(run, *MEASURED, "--trust").code in (0, 3)
    assert Path("called").read_text() == "3" and read(run, "report")["runs"][0]["method"] == "marked.py:Mine"


@pytest.mark.usefixtures("pageless")
def test_a_task_that_is_named_again_gets_the_arguments_of_the_run_unless_others_are_said(run: Path) -> None:
    assert report(run, *MEASURED, "--task", "marked.py:task").code in (0, 3)
    assert Path("called").read_text() == "3"
    assert report(run, *MEASURED, "--task", "marked.py:task", "-t", "count=4").code in (0, 3)
    assert Path("called").read_text() == "4"
    assert report(run, *MEASURED, "--task", f"{tiny.__file__}:mlp").code in (0, 3)


@pytest.mark.usefixtures("pageless")
@pytest.mark.parametrize("kind", ["tree", "compare"])
def test_runs_within_a_folder_are_data_too(asked: list[object], mlps: list[Path], kind: str) -> None:
    asked[asked.index("--task") + 1] = "marked.py:task"
    words = ["compare", *asked, "--methods", "linear,finetune"] if kind == "compare" else ["merge", mlps[2], *asked]
    assert llpf(*words, "--budget", 5, "-o", "runs").code in (0, 3)
    without_marks(Path("runs"))
    refused(report("runs", *MEASURED), "report", "names the task marked.py:task")
    assert untouched()
    assert report("runs", *MEASURED, "--trust").code in (0, 3)


def test_a_built_in_task_imports_nothing_that_lies_in_the_current_folder(run: Path) -> None:
    """``cd run; llpf report .``, where the folder came with a file of that name."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    edit(run / "run.json", lambda d: d["asked"].update(task="digits/mlp", task_arguments={}))
    (run / "sklearn.py").write_text("open('imported', 'w')\n")
    result = process("llpf-report", ".", *MEASURED, cwd=run)
    refused(result, "report", "missing")  # the digits' network is another one than the run's
    assert not (run / "imported").exists()


@pytest.mark.parametrize("task", [3, ["marked.py:task"], None, {"x": 1}])
def test_a_task_that_is_no_name_is_refused(run: Path, task: Any) -> None:
    edit(run / "run.json", lambda d: d["asked"].update(task=task))
    refused(report(run, *MEASURED, "--trust"), "report", "run.json does not say what was asked")


# ---- configuration files


def config(**entries: Any) -> str:
    Path("run.yaml").write_text(yaml.safe_dump(entries))
    return "run.yaml"


@pytest.mark.parametrize(
    "entries",
    [
        {"command": "merge", "task": "marked.py:task"},
        {"command": "merge", "task": "marked:task"},
        {"command": "merge", "task": ["marked.py:task"]},
        {"command": "origin", "task": "marked.py:task"},
        {"command": "merge", "task": "digits/mlp", "method": "marked.py:Mine"},
        {"command": "compare", "task": "digits/mlp", "methods": "llpf, marked.py:Mine"},
        {"command": "merge", "compare": True, "task": "marked.py:task"},
        {"command": "methods", "models": "marked.py:Mine"},
        {"command": "order", "models": "marked.py:task"},
        {"command": "order", "models": "digits/mlp", "inputs": "marked.py:task"},
        {"command": "order", "models": "hf:folder", "task_args": {"trust_remote_code": True}},
        {"command": "report", "models": "run", "task": "marked.py:task"},
        {"command": "merge", "task": "digits/mlp", "models": ["--task=marked.py:task", "b.pt"]},
        {"command": "merge", "trust": True, "task": "marked.py:task"},
        {"command": "merge", "points": "--task=marked.py:task"},
        {"command": "merge", "task_args": ["--task=marked.py:task"]},
    ],
)
def test_a_file_alone_names_no_code(entries: dict[str, Any]) -> None:
    entries.setdefault("models", ["a.pt", "b.pt"][: 1 + (entries["command"] != "origin")])
    result = llpf("--config", config(**entries))
    assert result.code == USAGE and not result.traceback and len(result.err.splitlines()) == 1, result.text
    assert untouched()


def test_what_the_message_says_is_done(asked: list[object]) -> None:
    words = [str(word) for word in asked[:2]]
    file = config(command="merge", models=words, task="marked.py:task", method="marked.py:Mine", report=False)
    both = "(--method marked.py:Mine --task marked.py:task), or add --trust"
    refused(llpf("--config", file), "", "run.yaml names marked.py:Mine, marked.py:task", both, code=USAGE)
    named = ["--task", "marked.py:task"]
    refused(llpf("--config", file, *named), "", "(--method marked.py:Mine), or add --trust", code=USAGE)
    assert untouched()
    assert llpf("--config", file, *named, "--method=marked.py:Mine", "-o", "one").code in (0, 3)
    assert llpf("--config", file, "--trust", "-o", "two").code in (0, 3)
    assert merge("--trust", "--config", file, "-o", "two", "--resume").code in (0, 3)
    documents = [json.loads(Path(run, "run.json").read_text())["asked"] for run in ("one", "two")]
    assert documents[0] == documents[1]


def test_a_method_of_an_installed_package_is_the_users_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"llpf": "llpf_plugin.llpf.method:LLPF", "theirs": "marked:Mine"}
    monkeypatch.setattr("llpf_cli.trust.known_methods", lambda: names)
    refused(merge("a", "b", "--config", config(method="theirs")), "merge", "run.yaml names theirs", code=USAGE)


# ---- what is called


@pytest.mark.parametrize("spec", ["os:system", "os:getcwd", "shutil:rmtree", "builtins:dict", "marked.py:Mine"])
def test_what_is_no_factory_is_not_called(spec: str, asked: list[object]) -> None:
    asked[asked.index("--task") + 1] = spec
    refused(merge(*asked, "-o", "run"), "merge", spec, "not a task factory, and was not called")
    assert not Path("run").exists()


def test_what_is_no_method_is_not_called(asked: list[object]) -> None:
    refused(merge(*asked, "--method", "marked.py:method", "-o", "run"), "merge", "is not a method")


# ---- where a report goes


@pytest.mark.usefixtures("pageless")
def test_a_report_overwrites_nothing_but_a_report(run: Path) -> None:
    Path("mine").mkdir()
    for name in ("report.html", "report.json"):
        (Path("mine") / name).write_text('{"mine": 1}')
    refused(
        report(run, *MEASURED, "--trust", "-o", "mine"), "report", "mine is not an empty folder and holds no report"
    )
    assert {p.name: p.read_text() for p in Path("mine").iterdir()} == dict.fromkeys(
        ("report.html", "report.json"), '{"mine": 1}'
    )
    (run / "report.json").symlink_to(Path("mine/report.json").resolve())
    refused(report(run, *MEASURED, "--trust"), "report", "report.json is a link")
    (run / "report.json").unlink()
    for _ in range(2):
        assert report(run, *MEASURED, "--trust", "-o", "out").code in (0, 3)
    assert report(run, *MEASURED, "--trust").code in (0, 3)


@pytest.mark.parametrize("command", ["merge", "compare", "origin", "demo"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_search_overwrites_nothing_of_the_users(asked: list[object], command: str, resume: bool) -> None:
    Path("mine").mkdir()
    for name in ("merged.pt", "report.html", "config.yaml", "a.pt", "path.png", "quality.json"):
        (Path("mine") / name).write_text("mine")
    words = {"origin": [asked[0], *asked[2:]], "demo": []}.get(command, asked)
    result = llpf(command, *words, "-o", "mine", *(["--resume"] if resume and command != "demo" else []))
    refused(result, command, "mine is not an empty folder and holds no run: name another folder with -o")
    assert {p.name: p.read_text() for p in Path("mine").iterdir()} == dict.fromkeys(
        ("merged.pt", "report.html", "config.yaml", "a.pt", "path.png", "quality.json"), "mine"
    )
