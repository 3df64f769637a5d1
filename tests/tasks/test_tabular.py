"""A csv file as a task: features and targets by hand, and one sentence for what cannot be used."""

from pathlib import Path
from typing import Any

import pytest
import torch

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks import load_task
from llpf_plugin.tasks.plain.table import read_table

PLAIN = "size,colour,price\n" + "".join(f"{i},{'red' if i % 3 else 'blue'},{i * 1.5}\n" for i in range(12))


def written(folder: Path, text: str) -> str:
    (folder / "table.csv").write_text(text, encoding="utf-8")
    return str(folder / "table.csv")


def test_numbers_are_standardised_words_encoded_and_gaps_told(tmp_path: Path) -> None:
    place = written(tmp_path, "\ufeffsize,colour,kind\n1,red,a\n,blue,b\n3,red,a\n5,,b\n")
    found = read_table(place, None, "auto")
    spread = (8 / 3) ** 0.5  # of 1, 3, 5
    expected = [
        [-2 / spread, 0, 0, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [2 / spread, 0, 0, 0, 1],
    ]  # fmt: skip
    assert torch.allclose(found.inputs, torch.tensor(expected))
    assert (found.targets.tolist(), found.classes) == ([0, 1, 0, 1], ["a", "b"])


def test_classes_that_are_numbers_are_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    place = written(tmp_path, "x,y\n" + "".join(f"{i},{(10, 9, 100)[i % 3]}\n" for i in range(9)))
    assert read_table(place, "y", "auto").classes == ["9", "10", "100"]


def test_a_task_of_either_kind(tmp_path: Path) -> None:
    place = written(tmp_path, PLAIN)
    regression = load_task("tabular/mlp", {"data": place, "width": 8, "depth": 3})
    assert [len(p) for p in regression.model.parameters()] == [8, 8, 8, 8, 8, 8, 1, 1]
    loss, correct = regression.score(regression.train.batch(4, 0, 0))
    inputs, targets = regression.train.batch(4, 0, 0)
    assert correct is None and torch.isclose(loss, (regression.model(inputs)[:, 0] - targets).square().mean())
    kinds: Any = load_task("tabular/mlp", {"data": place, "target": "colour"})
    assert kinds.model[-1].out_features == 2 and kinds.score(kinds.train.batch(4, 0, 0))[1] is not None
    assert len(kinds.classes) == 2 and list(kinds.classes) == sorted(kinds.classes) and not regression.classes
    assert sum(len(split) for split in (kinds.train, kinds.validation, kinds.test)) == 12
    assert not torch.equal(kinds.fresh_model(1)[0].weight, kinds.fresh_model(2)[0].weight)


@pytest.mark.parametrize(
    ("text", "more", "told"),
    [
        (PLAIN, {"target": "prize"}, "has no column 'prize': did you mean price"),
        (PLAIN, {"kind": "ranking"}, "kind = 'ranking': it is one of auto"),
        (PLAIN, {"target": "colour", "kind": "regression"}, "'colour' does not hold numbers"),
        (PLAIN, {"kind": "classification"}, "'price' has 12 different values in 12 rows, which are no classes"),
        (PLAIN.replace("\n3,blue,4.5", "\n3,blue,"), {}, "'price' is empty in line 5"),
        (PLAIN.replace("3,blue,4.5", "3,blue"), {}, "line 5 has 2 values, the head line 3"),
        (PLAIN.replace("size", "price"), {}, "names a column twice"),
        ("x,y\n" + "".join(f"{i},{i}\n" for i in range(30)), {}, "30 different whole numbers: say -t kind=regression"),
        ("x,y\n" + "".join(f"t{i},{i % 2}\n" for i in range(90)), {}, "'x' holds 90 different texts, more than 64"),
        ("x,y\n1,1\n2,2\n1,1\n2,2\n", {}, None),
        ("x,y\n1,1.5\n2,2\n", {}, "2 rows are too few"),
        ("x,y\n", {}, "has no rows"),
        ("y\n1\n", {}, "has no column besides 'y'"),
        ("", {}, "reading .* failed"),
        ("x,y\n1,nan\n2,1.5\n3,2\n4,3\n", {}, "'y' has 4 different values in 4 rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_gets_one_sentence(
    tmp_path: Path, text: str, more: dict[str, Any], told: str | None
) -> None:
    place = written(tmp_path, text)
    if told is None:
        assert load_task("tabular/mlp", {"data": place}).model[-1].out_features == 2
        return
    with pytest.raises(TaskError, match=told):
        load_task("tabular/mlp", {"data": place, **more})


def test_no_file_and_no_name() -> None:
    with pytest.raises(TaskError, match=r"give -t data=FILE\.csv"):
        load_task("tabular/mlp")
    with pytest.raises(TaskError, match=r"reading nowhere\.csv failed"):
        load_task("tabular/mlp", {"data": "nowhere.csv"})
