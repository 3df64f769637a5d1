"""What a method is: values with rules, and how they bind."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from helpers import tiny
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin import LLPFError, Method
from llpf_plugin.evaluation import Goal
from llpf_plugin.methods import Outcome, Plan, Problem, Stretch, in_words, setting
from llpf_plugin.workspace import Workspace


@dataclass(frozen=True)
class Rules(Method):
    """Settings of every kind."""

    name: ClassVar[str] = "rules"
    count: int = setting(1, within="[1, 9)")
    part: float = setting(0.5, within="(0, 1]")
    maybe: float | None = setting(None, within="(0, inf)")
    word: str = setting("a", choices=("a", "b"))
    either: str | int = setting("auto")
    flag: bool = setting(False)
    free: Any = setting(None)  # noqa: RUF009 - as a user would write it


@given(st.integers(1, 8), st.floats(0, 1, exclude_min=True), st.none() | st.floats(1e-9, 1e9), st.sampled_from("ab"))
def test_what_lies_within_is_kept_as_it_is(count: int, part: float, maybe: float | None, word: str) -> None:
    method = Rules(count, part, maybe, word)
    assert list(method.settings().values())[:4] == [count, part, maybe, word]
    assert Rules(**method.settings()) == method and hash(Rules(**method.settings())) == hash(method)
    assert Rules(count, part, maybe, word, flag=True) != method


@given(st.integers(max_value=0) | st.integers(min_value=9))
def test_a_count_beyond_its_bounds_is_refused(count: int) -> None:
    with pytest.raises(LLPFError, match=r"rules: count = .*: it must be in \[1, 9\)"):
        Rules(count=count)


@given(st.floats().filter(lambda x: not 0 < x <= 1))
def test_a_part_beyond_its_bounds_is_refused(part: float) -> None:
    with pytest.raises(LLPFError, match=r"rules: part = .*: it must be in \(0, 1\]"):
        Rules(part=part)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 1.5}, r"rules: count = 1\.5: it must be int"),
        ({"count": "3"}, r"rules: count = '3': it must be int"),
        ({"count": None}, "count = None: it must be int"),
        ({"part": None}, "part = None: it must be float"),
        ({"maybe": "0.1"}, "maybe = '0.1': it must be float or None"),
        ({"maybe": 0.0}, r"maybe = 0: it must be above 0"),
        ({"word": "c"}, "word = 'c': it must be one of a, b"),
        ({"word": 3}, "word = 3: it must be str"),
        ({"either": 1.5}, "either = 1.5: it must be str or int"),
        ({"flag": 1}, "flag = 1: it must be bool"),
        ({"flag": "yes"}, "flag = 'yes': it must be bool"),
        ({"count": True}, "count = True: it must be int"),
        ({"part": True}, "part = True: it must be float"),
    ],
)
def test_another_type_or_word_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LLPFError, match=message):
        Rules(**settings)


def test_an_integer_is_a_float_and_what_has_no_plain_type_is_free() -> None:
    assert Rules(part=1, maybe=3).part == 1
    assert Rules(free=object()).free is not None


@pytest.mark.parametrize(
    ("interval", "words"),
    [("(0, inf)", "above 0"), ("[1, inf)", "at least 1"), ("(0, 1]", "in (0, 1]"), ("[0, 1)", "in [0, 1)")],
)
def test_intervals_as_people_say_them(interval: str, words: str) -> None:
    assert in_words(interval) == words


def test_a_method_that_binds_nothing_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Rules does not say how it binds to a task and a goal"):
        Rules().bind(None)


def test_binding_is_a_function_named_in_text() -> None:
    @dataclass(frozen=True)
    class Elsewhere(Method):
        binds_with: ClassVar[str] = "operator:concat"

        def __add__(self, other: Any) -> Any:
            return (self, other)

        def __getitem__(self, _: Any) -> Any:
            return None

    method = Elsewhere()
    assert method.bind([1]) == (method, [1])


def test_a_plan_is_one_stretch_from_a_to_b_that_is_not_repaired() -> None:
    plan = Plan(lambda stretch: None)  # type: ignore[arg-type, return-value]
    assert plan.chain == (0, 1) and plan.stretches == (Stretch(0, 1),) and plan.repairs == 0 and plan.slack == 0
    assert plan.mend is None


def test_every_outcome_has_a_sentence() -> None:
    assert all(len(outcome.value.split()) > 3 for outcome in Outcome)
    assert len({outcome.value for outcome in Outcome}) == len(Outcome)


def test_the_steps_of_a_method_that_trains_are_those_asked_for_or_the_budget() -> None:
    workspace = Workspace(tiny.mlp())
    problem = Problem(workspace, {}, {}, Goal(1.0, 0.5, 0.5), 0.1, 0.0)
    assert problem.steps(12) == 12 and problem.steps(None) == 1
    workspace.budget = 30
    assert problem.steps(None) == 30 and problem.steps(12) == 12
