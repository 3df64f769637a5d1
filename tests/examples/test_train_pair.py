"""``examples/train_pair.py`` and ``examples/own_task.py``, as they are documented."""

from pathlib import Path

import pytest
import torch
from helpers.commands import Result, merge, process

ROOT = Path(__file__).parents[2]


def train_pair(*words: object) -> Result:
    return process(ROOT / "examples" / "train_pair.py", *words, env={"PYTHONPATH": str(ROOT)}, cwd=ROOT)


def test_values_of_a_task_are_what_they_are_for_the_commands(tmp_path: Path) -> None:
    words = ["-t", "width=8", "--epochs", 1, "--seeds", 0, "-o", tmp_path]
    result = train_pair("examples/own_task.py:task", *words)
    assert result.code == 0, result.text
    stored = torch.load(tmp_path / "seed0.pt", weights_only=True)
    assert stored["state_dict"]["0.weight"].shape == (8, 1) and stored["seed"] == 0
    assert f"{tmp_path / 'seed0.pt'}: train loss" in result.out and "accuracy" not in result.out  # it regresses


def test_a_task_of_ones_own_is_trained_and_connected(tmp_path: Path) -> None:
    spec = ["examples/own_task.py:task", "-t", "width=32"]
    trained = train_pair(*spec, "--seeds", 0, 1, "-o", tmp_path / "pair")
    assert trained.code == 0, trained.text
    models = [tmp_path / "pair" / f"seed{seed}.pt" for seed in (0, 1)]
    spec[0] = f"{ROOT}/{spec[0]}"
    result = merge(*models, "--task", *spec, "-o", tmp_path / "run", "--device", "cpu", "--no-report")
    assert result.code == 0 and "connected" in result.out, result.text


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["digits/mlp", "--seeds", "-1"], 2, "'-1' is not a whole number of at least 0"),
        (["digits/mlp", "--seeds", "1.5"], 2, "'1.5' is not a whole number of at least 0"),
        (["digits/mlp", "--epochs", "0"], 2, "'0' is not a number above 0"),
        (["digits/mlp", "--lr", "nan"], 2, "'nan' is not a number above 0"),
        (["digits/mlp", "--weight-decay", "-0.1"], 2, "'-0.1' is not a number of at least 0"),
        (["digits/mlp", "-t", "width"], 2, "'width' is not of the form key=value"),
        (["digits/mlp", "-t", "widht=8"], 1, "'widht': did you mean width?"),
        (["digits/mpl"], 1, "did you mean digits/mlp"),
        (["digits/mlp", "--device", "abacus"], 1, "the device 'abacus' cannot be used here"),
    ],
)
def test_wrong_arguments_end_in_one_message(words: list[str], code: int, complaint: str, tmp_path: Path) -> None:
    result = train_pair(*words, "-o", tmp_path / "pair")
    assert result.code == code and complaint in result.err and not result.traceback
    assert not (tmp_path / "pair").exists()


def test_help_has_an_example() -> None:
    result = train_pair("--help")
    assert result.code == 0 and "python examples/train_pair.py digits/resnet -o pair" in result.out
