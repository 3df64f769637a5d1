"""Records: what is written is read back, by this version and by others."""

import json
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin.records import DOWN, JOIN, ORIGIN, UP, Cost, Knot, LegCost, Rate, Record, Row, Tick, leg_of

numbers = st.floats(allow_nan=False)
counts = st.integers(0, 10**9)
words = st.text(max_size=5)
maybe = st.none() | numbers

knots = st.builds(Knot, words, st.none() | words, st.none() | counts, st.none() | st.booleans(), words)
ticks = st.builds(
    Tick, words, counts, numbers, numbers, numbers, counts, st.booleans(), st.booleans(), maybe, numbers, counts,
    st.none() | counts, st.lists(words, max_size=3).map(tuple), counts, words, counts,
)  # fmt: skip
costs = st.builds(
    Cost, st.none() | counts, maybe, counts, counts, maybe, st.none() | counts,
    st.dictionaries(words, st.builds(LegCost, words, counts), max_size=3),
)  # fmt: skip
rows = st.builds(Row, maybe, maybe, maybe, maybe, maybe, maybe, numbers, numbers, counts)
records = st.one_of(knots, ticks, costs, rows)


@given(records)
def test_a_record_survives_json(record: Record) -> None:
    again = type(record).from_json(json.loads(json.dumps(record.to_json())))
    assert again == record and type(again) is type(record)


@given(records, st.dictionaries(st.text(min_size=30, max_size=40), st.integers(), min_size=1, max_size=3))
def test_names_of_another_version_are_left_out(record: Record, unknown: dict[str, int]) -> None:
    assert type(record).from_json({**record.to_json(), **unknown}) == record


@given(records, st.data())
def test_what_is_missing_has_its_default(record: Record, data: st.DataObject) -> None:
    values = record.to_json()
    own = [f.name for f in fields(record) if f.name in values]  # type: ignore[arg-type]
    with_default = [n for n in own if n not in ("kind", "phase", "tick", "gap", "first_loss", "settled_loss", "steps")]
    gone = data.draw(st.sets(st.sampled_from(with_default)))
    again = type(record).from_json({k: v for k, v in values.items() if k not in gone})
    defaults = {f.name: getattr(type(record), f.name, None) for f in fields(record) if f.name in gone}  # type: ignore[arg-type]
    for name in with_default:
        if name not in gone:
            assert again[name] == record[name]
        elif defaults[name] is not None:
            assert again[name] == defaults[name]


@given(records)
def test_a_record_is_read_like_the_mapping_that_it_is_in_the_file(record: Record) -> None:
    for f in fields(record):  # type: ignore[arg-type]
        assert record[f.name] == getattr(record, f.name)
    for name in ("magic", "to_json", "__class__"):
        with pytest.raises(KeyError, match=name):
            record[name]


@pytest.mark.parametrize("values", [None, [], "text", 3])
@pytest.mark.parametrize("kind", [Knot, Tick, Row])
def test_what_is_no_mapping_is_refused(kind: type[Record], values: Any) -> None:
    with pytest.raises(TypeError, match=f"expected a mapping for {kind.__name__}, got {type(values).__name__}"):
        kind.from_json(values)


def test_what_has_no_default_must_be_there() -> None:
    with pytest.raises(TypeError, match="kind"):
        Knot.from_json({"phase": "all"})
    with pytest.raises(TypeError, match="settled_loss"):
        Tick.from_json({"phase": "all", "tick": 0, "gap": 1.0, "first_loss": 1.0, "steps": 2})


def test_a_record_of_a_users_method_is_one_too() -> None:
    @dataclass(frozen=True)
    class Mine(Record):
        rungs: int = 3

    assert Mine.from_json({"rungs": 4, "other": 1}) == Mine(4) and Mine(4)["rungs"] == 4


def test_a_path_of_one_leg_has_no_legs() -> None:
    assert Cost.from_json({"legs": None}) == Cost.from_json({}) == Cost()


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (Rate(0.05), "0.05 (given)"), (Rate(0.012345, "found", 13), "0.0123 (found in 13 gradient steps)"),
        (Rate(0.05, "task"), "0.05 (the task's, since"),
        (Rate(0.1, "found", 9, 2), "lowered after a collapse (2 times)"),
    ],
)  # fmt: skip
def test_a_rate_says_where_it_comes_from_and_survives_json(rate: Rate, words: str) -> None:
    assert words in rate.words and Cost.from_json(Cost(rate=rate).to_json()).rate == rate


@pytest.mark.parametrize(
    ("before", "after", "leg"),
    [
        ("", DOWN, DOWN), (DOWN, DOWN, DOWN), (DOWN, JOIN, JOIN), (DOWN, UP, JOIN), (DOWN, "", JOIN), (JOIN, UP, JOIN),
        (JOIN, "", JOIN), (UP, UP, UP), (UP, "", UP), ("", "", ""), ("", ORIGIN, ORIGIN),
    ],
)  # fmt: skip
def test_the_leg_of_a_segment(before: str, after: str, leg: str) -> None:
    assert leg_of(Knot("settled", leg=before), Knot("settled", leg=after)) == leg
