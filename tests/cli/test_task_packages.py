"""Tasks of installed packages: a distribution with entry points lies on the path, as pip leaves it."""

import sys
from pathlib import Path

import pytest
from helpers.commands import llpf, merge
from helpers.refusals import USAGE, refused
from helpers.run_folders import edit, read

from llpf_plugin import load_task
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks import BUILT_IN, known

POINTS = """
[llpf_plugin.tasks]
theirs/mlp = their_tasks:mlp
theirs = their_tasks:mlp
theirs/broken = their_tasks.broken:mlp
theirs/away = their_tasks.away:mlp
theirs/nobody = their_tasks:nobody
theirs/class = their_tasks:Net
theirs/module = their_tasks
theirs/text = their_tasks:text
theirs/raises = their_tasks:raises
digits/mlp = their_tasks:mlp
"""

TASKS = """
from helpers import tiny
from llpf_plugin import Task

class Net:
    pass

def mlp(count=1) -> Task:
    return tiny.mlp()

def text():
    return "no task"

def raises():
    raise KeyError("data")
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site"
    about = site / "their_tasks-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-tasks\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    (site / "their_tasks").mkdir()
    (site / "their_tasks" / "__init__.py").write_text(TASKS)
    (site / "their_tasks" / "broken.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(site)
    for name in [name for name in sys.modules if name.startswith("their_tasks")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    return site


def test_tasks_of_a_package_are_listed_after_ours_without_being_imported() -> None:
    names = list(known())
    assert names[: len(BUILT_IN)] == list(BUILT_IN) and names[len(BUILT_IN)] == "theirs/mlp"
    assert known()["theirs/mlp"] == "their_tasks:mlp" and known()["digits/mlp"] == BUILT_IN["digits/mlp"]
    assert "their_tasks" not in sys.modules


@pytest.mark.parametrize("name", ["theirs/mlp", "theirs"])
def test_a_task_of_a_package_is_built_by_its_name(name: str) -> None:
    task = load_task(name, {"count": 2})
    assert task.model is not load_task(name).model
    assert [tuple(p.shape) for p in task.fresh_model(1).parameters()] == [
        tuple(p.shape) for p in task.model.parameters()
    ]
    with pytest.raises(TaskError, match=r"'theirs/mlp' takes no argument 'counts': did you mean count\?"):
        load_task("theirs/mlp", {"counts": 2})


def test_ours_cannot_be_replaced() -> None:
    assert load_task("digits/mlp").name == "digits/mlp" and "their_tasks" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "theirs/broken",
            r"importing 'their_tasks\.broken:mlp', which their-tasks declares as 'theirs/broken', failed: Ru",
        ),
        ("theirs/broken", r"failed: RuntimeError: imported"),
        ("theirs/away", r"which their-tasks declares as 'theirs/away', failed: ModuleNotFoundError: No module named"),
        ("theirs/nobody", r"which their-tasks declares as 'theirs/nobody', failed: AttributeError: .*'nobody'"),
        ("theirs/class", "'theirs/class' is the class Net, not a task factory, and was not called"),
        ("theirs/module", "'theirs/module' is of type module, not a task factory"),
        ("theirs/text", "'theirs/text' returned str; a task factory returns"),
        ("theirs/raises", "building 'theirs/raises' failed: KeyError: 'data'"),
        ("theirs/mlq", r"there is no built-in task 'theirs/mlq': did you mean theirs/mlp"),
    ],
)
def test_a_task_that_cannot_be_had_is_refused_in_one_sentence(name: str, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        load_task(name)
    assert "\n" not in str(caught.value)


def test_the_command_line_takes_its_name_and_a_folder_alone_does_not(asked: list[object]) -> None:
    asked[asked.index("--task") + 1] = "theirs/mlp"
    assert merge(*asked, "-o", "run", "--budget", 5).code in (0, 3)
    assert read(Path("run"), "run")["asked"]["task"] == "theirs/mlp"
    measured = ("--metrics", "none", "--figures", "none")
    refused(llpf("report", "run", *measured), "report", "names the task theirs/mlp, which is not built in", "--trust")
    assert llpf("report", "run", "--trust", *measured).code in (0, 3)
    refused(merge("--config", "run/config.yaml", "-o", "again"), "merge", "theirs/mlp", "--trust", code=USAGE)
    edit(Path("run/run.json"), lambda document: document["asked"].update(task="theirs/broken"))
    refused(llpf("report", "run", "--trust", *measured), "report", "which their-tasks declares as 'theirs/broken'")


def test_a_broken_one_ends_the_command_before_anything_is_written(asked: list[object]) -> None:
    asked[asked.index("--task") + 1] = "theirs/broken"
    refused(merge(*asked, "-o", "run"), "merge", "their-tasks", "RuntimeError: imported")
    assert not Path("run").exists()


def test_a_model_is_named_by_a_task_of_a_package() -> None:
    result = llpf("order", "theirs")
    assert result.code == 0, result.text
