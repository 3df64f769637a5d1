"""The goal of a search, and the losses of the ends that it is measured against."""

import math

import pytest
import torch

from llpf_plugin import LLPFError
from llpf_plugin.evaluation import Ends, Goal, goal_of
from llpf_plugin.records import Row


def ends(a: float | None, b: float | None, batch: float = 0.5) -> Ends:
    return Ends(Row(train=a), Row(train=b), batch)


def test_the_goal_by_hand() -> None:
    assert goal_of(0.3, None, ends(0.1, 0.2), 9.0) == Goal(loss=0.3, ends=0.2, batch=0.5)
    assert goal_of(None, 0.05, ends(0.1, 0.2), 9.0).loss == pytest.approx(0.25)
    assert goal_of(None, None, ends(0.2, 0.1), 1.0).loss == pytest.approx(1.2)
    assert Goal(loss=0.3, ends=0.2, batch=0.5).room == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("wish", "a", "b", "message"),
    [
        (0.15, 0.1, 0.2, r"max_loss = 0\.15 must exceed the training loss of B itself, 0\.2: raise it"),
        (0.2, 0.2, 0.1, r"of A itself, 0\.2"),
        (0.2, math.inf, 0.1, "of A itself, inf"),
    ],
)
def test_a_goal_that_an_end_does_not_meet_is_refused(wish: float, a: float, b: float, message: str) -> None:
    with pytest.raises(LLPFError, match=message):
        goal_of(wish, None, ends(a, b), 1.0)


@pytest.mark.parametrize(("a", "b"), [(math.nan, 0.1), (0.1, math.nan), (None, 0.1), (0.1, None)])
@pytest.mark.parametrize("wish", [0.5, None])
def test_an_end_without_a_loss_is_refused(a: float | None, b: float | None, wish: float | None) -> None:
    """Whatever the other one's loss is: nothing can be said of a path that begins or ends where there is no loss."""
    with pytest.raises(LLPFError, match=f"the training loss of {'B' if b != b or b is None else 'A'} itself, nan"):
        goal_of(wish, None, ends(a, b), 1.0)


def test_ends_are_read_like_mappings_and_written_as_json() -> None:
    found = ends(0.1, 0.2)
    assert found["A"]["train"] == 0.1 and found.to_json()["B"]["train"] == 0.2
    assert torch.tensor(found["batch"]) == 0.5
