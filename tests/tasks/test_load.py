from pathlib import Path

import pytest
import torch
from helpers import tiny
from torch import nn

from llpf_plugin import Task, TensorData, classification, load_task
from llpf_plugin.errors import TaskError
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


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(TaskError) as caught:
        load_task("digits/resnet50")
    assert "'digits/resnet50'" in str(caught.value)
    assert all(name in str(caught.value) for name in BUILT_IN)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(TaskError, match=r"'nowhere\.py' does not exist"):
        load_task("nowhere.py:task")


def test_a_missing_module_is_named() -> None:
    with pytest.raises(TaskError, match=r"'no_such_module_at_all' failed: ModuleNotFoundError"):
        load_task("no_such_module_at_all:task")


def test_a_missing_function_lists_what_there_is(tmp_path: Path) -> None:
    place = write(tmp_path, GOOD)
    with pytest.raises(TaskError, match=r"has no function 'tusk'; it has .*task"):
        load_task(f"{place}:tusk")


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
    with pytest.raises(TaskError, match=r"could not be built: TypeError: .*unexpected keyword argument 'wdth'"):
        load_task(f"{place}:task", {"wdth": 3})


def test_another_type_than_a_task_is_refused(tmp_path: Path) -> None:
    place = write(tmp_path, "def task():\n    return 3\n")
    with pytest.raises(TaskError, match=r"returned int; a task factory returns an llpf_plugin\.Task"):
        load_task(f"{place}:task")


def test_the_factorys_own_task_error_passes(tmp_path: Path) -> None:
    text = "from llpf_plugin.errors import TaskError\ndef task():\n    raise TaskError('set LLPF_DATA')\n"
    with pytest.raises(TaskError, match=r"^set LLPF_DATA$"):
        load_task(f"{write(tmp_path, text)}:task")


def test_classification_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 5.0]])
    loss, correct = classification(nn.Identity(), (logits, torch.tensor([0, 0, 0])))
    expected = (0.693147 + 0.126928 + 5.006715) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-5) and int(correct) == 2


def test_an_objective_may_return_the_loss_alone(mlp: Task) -> None:
    data = TensorData(torch.ones(4, 6), torch.zeros(4))
    task = Task(mlp.model, data, objective=lambda model, batch: model(batch[0]).square().mean())
    loss, correct = task.score(data.batch(4, 0, 0))
    assert loss.shape == () and correct is None


def test_example_inputs_are_two_examples(conv: Task) -> None:
    assert conv.example_inputs().shape == (2, 1, 5, 5)


def test_to_moves_model_and_every_split() -> None:
    task = tiny.mlp().to("meta")
    assert next(task.model.parameters()).is_meta
    assert task.train.inputs.is_meta and task.validation.targets.is_meta and task.test.inputs.is_meta
