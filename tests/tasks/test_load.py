from pathlib import Path

import pytest
import torch

from llpf_plugin import Task, load_task
from llpf_plugin.errors import SpecificationError, TaskError
from llpf_plugin.tasks import BUILT_IN

GOOD = """
import torch
from torch import nn
from llpf_plugin import Task, TensorData

def task(width=3):
    return Task(nn.Linear(2, int(width)), TensorData(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)))
"""


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_task_is_itself(mlp: Task) -> None:
    assert load_task(mlp) is mlp


def test_a_built_in_task_takes_arguments() -> None:
    task = load_task("digits/mlp", {"width": "12", "depth": 2})
    assert [tuple(p.shape) for p in task.model.parameters()] == [(12, 64), (12,), (12, 12), (12,), (10, 12), (10,)]
    assert task.name == "digits/mlp"
    assert (len(task.train), len(task.validation), len(task.test)) == (1197, 300, 300)


def test_a_file_and_a_module_give_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write(tmp_path, GOOD, "my_own_task.py")
    task = load_task(f"{place}:task", {"width": 5})
    assert task.model.out_features == 5
    assert task.name == f"{place}:task"
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_task("my_own_task:task").model.out_features == 3


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "llpf_test_neighbour.py")
    place = write(tmp_path, "from llpf_test_neighbour import task")
    assert load_task(f"{place}:task").model.out_features == 3


def test_an_unknown_name_is_told_the_known_ones_that_are_nearest() -> None:
    with pytest.raises(
        TaskError, match=r"no built-in task 'digits/resnet50': did you mean digits/resnet, .*\? Your own"
    ):
        load_task("digits/resnet50")
    with pytest.raises(TaskError) as caught:
        load_task("qqq")
    assert all(name in str(caught.value) for name in BUILT_IN)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(TaskError, match=r"'nowhere\.py' does not exist"):
        load_task("nowhere.py:task")


def test_a_missing_module_is_named() -> None:
    with pytest.raises(TaskError, match=r"'no_such_module_at_all' failed: ModuleNotFoundError"):
        load_task("no_such_module_at_all:task")


def test_a_missing_function_lists_what_there_is(tmp_path: Path) -> None:
    place = write(tmp_path, GOOD)
    with pytest.raises(TaskError, match=r"mine\.py' has no 'tusk': did you mean task, Task\?"):
        load_task(f"{place}:tusk")


def test_a_loaded_task_makes_its_model_again(tmp_path: Path) -> None:
    task = load_task(f"{write(tmp_path, GOOD)}:task", {"width": 5})
    first, again, other = task.fresh_model(1), task.fresh_model(1), task.fresh_model(2)
    assert first.out_features == 5 and first is not task.model
    assert torch.equal(first.weight, again.weight) and not torch.equal(first.weight, other.weight)
    assert not torch.equal(first.weight, task.model.weight)


def test_a_task_that_knows_how_its_model_is_made_is_believed(tmp_path: Path) -> None:
    text = (
        GOOD
        + "\ndef own():\n    return Task(nn.Linear(2, 3), task().train, build=lambda: nn.Linear(2, 7), name='mine')\n"
    )
    task = load_task(f"{write(tmp_path, text)}:own")
    assert task.fresh_model(0).out_features == 7 and task.name == "mine"


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("x = 1\nraise RuntimeError('no disk')\n", 2, "RuntimeError: no disk"),
        ("def task():\n    return 1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("from torch import nn\n\ndef task():\n    return nn.Linear('two', 3)\n", 4, "TypeError"),
        ("\n\nopen('missing.csv')\n", 3, "FileNotFoundError"),
        ("def task():\n    import json\n    json.loads('{')\n", 3, "JSONDecodeError"),
        ("x = 1\ndef task(:\n", 2, "SyntaxError"),
    ],
    ids=["at import", "in the factory", "inside torch", "missing data", "inside the library", "syntax"],
)
def test_a_file_that_raises_is_named_with_its_line(tmp_path: Path, text: str, line: int, cause: str) -> None:
    place = write(tmp_path, text)
    with pytest.raises(TaskError) as caught:
        load_task(f"{place}:task")
    message = str(caught.value)
    assert cause in message
    assert "mine.py, line " + str(line) in message
    assert "frozen" not in message


def test_an_argument_that_the_factory_lacks_is_named(tmp_path: Path) -> None:
    place = write(tmp_path, GOOD)
    with pytest.raises(TaskError, match=r"mine\.py:task' takes no argument 'wdth': did you mean width\?"):
        load_task(f"{place}:task", {"wdth": 3})
    with pytest.raises(TaskError, match=r"'digits/mlp' takes no argument 'blocks'"):
        load_task("digits/mlp", {"blocks": 3})


def test_the_cause_of_a_failure_is_kept(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"^the task '.*mine\.py:task' could not be built: building") as caught:
        load_task(f"{write(tmp_path, GOOD)}:task", {"width": "three"})
    causes, error = [], caught.value.__cause__
    while error is not None:
        causes.append(type(error))
        error = error.__cause__
    assert causes == [SpecificationError, ValueError]


def test_another_type_than_a_task_is_refused(tmp_path: Path) -> None:
    place = write(tmp_path, "def task():\n    return 3\n")
    with pytest.raises(TaskError, match=r"returned int; a task factory returns an llpf_plugin\.Task"):
        load_task(f"{place}:task")


def test_the_factorys_own_task_error_passes(tmp_path: Path) -> None:
    text = "from llpf_plugin.errors import TaskError\ndef task():\n    raise TaskError('set LLPF_DATA')\n"
    with pytest.raises(TaskError, match=r"^set LLPF_DATA$"):
        load_task(f"{write(tmp_path, text)}:task")
