"""The mean over batches, and what an objective means by correct answers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin.errors import TaskError
from llpf_plugin.evaluation.answers import Answer, mean

sizes = st.lists(st.integers(1, 600), min_size=1, max_size=5)


def answers(sizes: list[int], correct: list[object]) -> list[Answer]:
    return [Answer.of(n, torch.tensor(1.0), c) for n, c in zip(sizes, correct, strict=True)]  # type: ignore[arg-type]


@given(sizes, st.data())
def test_a_number_of_answers(sizes: list[int], data: st.DataObject) -> None:
    right = [data.draw(st.integers(0, n)) for n in sizes]
    for kind in (torch.int64, torch.int32):
        found = mean(answers(sizes, [torch.tensor(c, dtype=kind) for c in right]))
        assert found.accuracy == pytest.approx(sum(right) / sum(sizes))


@given(sizes, st.data())
def test_a_number_that_is_a_floating_point_one(sizes: list[int], data: st.DataObject) -> None:
    """Some batch has more than one correct answer, so that it is no share."""
    right = [data.draw(st.integers(0, n)) for n in sizes]
    if max(right) > 1:
        found = mean(answers(sizes, [torch.tensor(float(c)) for c in right]))
        assert found.accuracy == pytest.approx(sum(right) / sum(sizes))


@given(st.lists(st.integers(16, 600), min_size=1, max_size=5), st.data())
def test_a_share_is_understood(sizes: list[int], data: st.DataObject) -> None:
    right = [data.draw(st.integers(1, n)) for n in sizes]
    shares = [torch.tensor(c / n) for c, n in zip(right, sizes, strict=True)]
    if any(c not in (1, n) for c, n in zip(right, sizes, strict=True)) or all(share == 1 for share in shares):
        assert mean(answers(sizes, shares)).accuracy == pytest.approx(sum(right) / sum(sizes), rel=1e-5)


@pytest.mark.parametrize(("correct", "said"), [(3200, "3200"), (-1, "-1"), (float("nan"), "nan")])
def test_what_cannot_be_a_number_of_correct_answers_is_named(correct: float, said: str) -> None:
    with pytest.raises(TaskError, match=f"{said} answers of a batch of 64 examples"):
        mean(answers([64], [torch.tensor(correct)]))


def test_batches_count_by_their_examples_and_none_is_an_error() -> None:
    found = mean([Answer.of(3, torch.tensor(1.0), None), Answer.of(1, torch.tensor(5.0), None)])
    assert (found.loss, found.accuracy) == (2.0, None)
    with pytest.raises(TaskError, match="no example"):
        mean([])
