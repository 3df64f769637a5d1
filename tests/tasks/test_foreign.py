"""What a user's code raises, returns or is made of comes out as one sentence."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import tiny
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from llpf_plugin import Defaults, LoaderData, Task, TensorData, load_task
from llpf_plugin.errors import LLPFError, SpecificationError, TaskError
from llpf_plugin.tasks.foreign import each, explained
from llpf_plugin.workspace import Workspace


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("weight"), "reading it failed: KeyError: 'weight'"),
        (SystemExit(3), "reading it failed: SystemExit: 3"),
        (MemoryError(), "reading it failed: MemoryError.*a smaller batch size"),
        (RuntimeError("one\ntwo\x1b[31m"), r"RuntimeError: one two\\x1b\[31m"),
        (UnprintableError(), "reading it failed: UnprintableError"),
    ],
)
def test_whatever_is_raised_is_one_line(error: BaseException, words: str) -> None:
    with pytest.raises(TaskError, match=words) as raised, explained("reading it", TaskError):
        raise error
    assert raised.value.__cause__ is error and str(raised.value).isprintable()
    assert "test_foreign.py, line" in str(raised.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SpecificationError("ours")])
def test_what_stops_the_program_and_our_own_errors_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, explained("reading it", TaskError):
        raise error
    assert raised.value is error


def test_an_error_between_two_batches_is_explained_and_one_of_the_reader_is_not() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise OSError("broken")

    read = each("reading", batches)
    assert next(read) == 1
    with pytest.raises(TaskError, match="reading failed: OSError: broken"):
        next(read)
    with pytest.raises(ZeroDivisionError):
        for _ in each("reading", batches):
            _ = 1 / 0


def task(**parts: Any) -> Task:
    return replace(tiny.mlp(), **parts)


def answered(answer: Any) -> Any:
    return task(objective=lambda model, batch: answer(model(batch[0]).mean())).score(next(tiny.mlp().train.batches(4)))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda loss: {"loss": loss, "logits": 1}, r"a dict with \['loss', 'logits'\]"),
        (lambda loss: (loss.item(), 1), "a pair with a float"),
        (lambda loss: loss.expand(2, 1), r"a tensor of shape \[2, 1\] and type float32"),
        (lambda loss: (), "a tuple of 0"),
        (lambda loss: (loss, "3"), "a str as the number of correct answers"),
        (lambda loss: (loss, [1, 2]), "a list of 2 as the number"),
    ],
)
def test_what_is_no_loss_is_named(answer: Any, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        answered(answer)


@pytest.mark.parametrize("answer", [lambda x: x, lambda x: x[None, None], lambda x: (x, 2), lambda x: (x, None)])
def test_a_loss_of_one_number_is_one_with_or_without_a_count(answer: Any) -> None:
    loss, correct = answered(answer)
    assert loss.dim() == 0 and loss.requires_grad and correct in (None, torch.tensor(2))


PARTS = {
    "a test split that is a list": ({"test": [1, 2]}, "the test data of .* are of type list: give"),
    "a data set": ({"validation": TensorDataset(torch.zeros(3))}, "the validation data .* of type TensorDataset"),
    "a class": ({"train": TensorData}, "the class TensorData"),
    "a lazy layer": ({"model": nn.LazyLinear(3)}, "parameters without a shape yet"),
    "a name that is no text": ({"model": nn.ModuleDict({"\udc80": nn.Linear(1, 1)})}, "which no file can hold"),
    "an objective that is a number": ({"objective": 3}, "of type int: give a function"),
    "a learning rate of 0": ({"defaults": Defaults(lr=0)}, "lr = 0: it must be a number above 0"),
    "a tolerance that is none": ({"defaults": Defaults(tolerance=float("nan"))}, "tolerance = nan"),
    "a class that is there twice": ({"classes": ["a", "a"]}, r"the classes of .* are \['a', 'a'\]: give a list of"),
    "classes in one text": ({"classes": "ab"}, "the classes of .* are 'ab': give a list of different names"),
    "half a batch": ({"defaults": Defaults(batch_size=0.5)}, "batch_size = 0.5"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_the_wrong_kind_are_refused_before_any_work(name: str) -> None:
    parts, words = PARTS[name]
    with pytest.raises(TaskError, match=words):
        load_task(task(**parts))


def test_a_task_that_names_no_default_of_its_own_is_taken() -> None:
    assert load_task(task()).train is not None


class Stream(IterableDataset[torch.Tensor]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.zeros(self.count, 2))


class Counted(Stream):
    def __len__(self) -> int:
        return 3


def test_a_stream_without_a_length_or_beyond_it_is_refused() -> None:
    with pytest.raises(TaskError, match="Stream says no length"):
        len(LoaderData(DataLoader(Stream(9), 2)))
    assert len(LoaderData(DataLoader(Stream(9), 2), DataLoader(Counted(3), 2))) == 3
    with pytest.raises(TaskError, match=r"more than 30 examples and says a length of 3"):
        list(LoaderData(DataLoader(Counted(50), 2)).batches(2))


def test_an_empty_loader_to_score_on_is_not_replaced_by_the_other() -> None:
    data = LoaderData([torch.zeros(3, 2)], evaluation=[])
    assert list(data.batches(2)) == []


def test_a_loss_without_a_gradient_is_refused_before_the_gradient() -> None:
    workspace = Workspace(task(), seed=0)
    with pytest.raises(TaskError, match="has no gradient: return it undetached"):
        workspace.backward(workspace.loss().detach())


def test_leaving_the_program_is_an_error_of_the_factory(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("leaves")
    module.task = lambda: sys.exit(0)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "leaves", module)
    with pytest.raises(LLPFError, match="SystemExit: 0"):
        load_task("leaves:task")
