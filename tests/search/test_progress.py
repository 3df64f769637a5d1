"""Callbacks, stop and resume: what a search tells, and that it continues bit by bit from any snapshot."""

import json
from functools import cache
from pathlib import Path as FilePath

import pytest
from helpers import tiny
from helpers.searches import COARSE, GOALS, Recorder, coarse, found, resuming, same_path, schedule
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin import LLPF, Path, find_path, walk_to_origin
from llpf_plugin.errors import InterruptedRun
from llpf_plugin.evaluation import Ends
from llpf_plugin.methods import Stretch
from llpf_plugin.records import DOWN, JOIN, Knot, LegCost, Rate, Row, Spent, Tick
from llpf_plugin.search import Callback, Progress
from llpf_plugin.search.progress import Fresh

every_task = pytest.mark.parametrize("name", tiny.TASKS)


@pytest.fixture(autouse=True)
def few_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a short walk is thinned."""
    monkeypatch.setattr("llpf_plugin.search.assemble.BLOCK", 3)


@cache
def repaired(name: str) -> tuple[Path, list[str]]:
    """The run that nothing interrupts, and what its callback heard."""
    recorder = Recorder()
    return coarse(name, callbacks=[recorder]), recorder.events


def test_callbacks_hear_of_everything_in_order() -> None:
    path, events = repaired("mlp")
    rounds = [e for i in range(path.cost.repairs + 1) for e in (f"tick of stretch {i}", f"measure in round {i}")]
    assert list(dict.fromkeys(events)) == ["start", *rounds, "end"]
    assert sum(e.startswith("tick") for e in events) == len(path.record)


def test_a_callback_need_hear_of_nothing() -> None:
    assert same_path(coarse("mlp", callbacks=[Callback()]), repaired("mlp")[0])


@every_task
def test_resumed_from_any_snapshot_it_ends_with_the_same_bits(name: str) -> None:
    """At the start; in the middle and at the end of the walk, of each repair, and of each measurement."""
    whole, events = repaired(name)
    assert whole.cost.repairs >= 1 and whole.cost.dropped > 0
    places = {0}
    for event in set(events) - {"start", "end"}:
        of_kind = [i for i, e in enumerate(events) if e == event]
        places |= {of_kind[len(of_kind) // 2], of_kind[-1]}
    recorder = Recorder(*places)
    assert same_path(coarse(name, callbacks=[recorder]), whole)  # a snapshot changes nothing
    assert recorder.taken.keys() == places
    for place, taken in recorder.taken.items():
        assert same_path(coarse(name, **resuming(taken)), whole), (place, events[place])


def test_a_stop_is_between_ticks_and_resumes() -> None:
    whole, events = repaired("mlp")
    for place in (1, events.index("measure in round 0"), events.index("tick of stretch 1") + 1):
        recorder = Recorder(place, stop=True)
        with pytest.raises(InterruptedRun, match="everything so far is kept"):
            coarse("mlp", callbacks=[recorder])
        assert len(recorder.events) == place + 1
        assert same_path(coarse("mlp", **resuming(recorder.taken[place])), whole)


def test_resumed_in_a_later_phase_it_settles_by_that_phases_rule(tmp_path: FilePath) -> None:
    extra = "  - {ticks: 6, step_f: 0.1, settle: {lr: 0.02, momentum: 0.9, min_steps: 3, max_steps: 3}}\n"
    method = LLPF(schedule=schedule(tmp_path, 4, extra=extra))
    whole = found("mlp", method)
    recorder = Recorder(4, 5, 8)
    found("mlp", method, callbacks=[recorder])
    for taken in recorder.taken.values():
        assert same_path(found("mlp", method, **resuming(taken)), whole)


@pytest.mark.parametrize("event", [1, 2, 4])
def test_a_walk_that_was_stopped_in_any_leg_continues_bit_by_bit(event: int) -> None:
    b, a = tiny.apart("conv")
    options = {"method": LLPF(across="always"), "tolerance": 0.2}
    whole = find_path(a, b, tiny.conv(), **options)
    recorder = Recorder(event, stop=True)
    with pytest.raises(InterruptedRun):
        find_path(a, b, tiny.conv(), callbacks=[recorder], **options)
    again = find_path(a, b, tiny.conv(), **options, **resuming(recorder.taken[event]))
    assert same_path(again, whole)


@pytest.mark.parametrize("event", [1, 5])
def test_a_walk_to_the_origin_that_was_stopped_continues_bit_by_bit(event: int) -> None:
    a, _ = tiny.pair("conv")
    options = {"to": 0.3, "tolerance": 0.3}
    whole = walk_to_origin(a, tiny.conv(), **options)
    recorder = Recorder(event, stop=True)
    with pytest.raises(InterruptedRun):
        walk_to_origin(a, tiny.conv(), callbacks=[recorder], **options)
    again = walk_to_origin(a, tiny.conv(), **options, **resuming(recorder.taken[event]))
    assert same_path(again, whole) and again.quality.variances == whole.quality.variances


def test_a_snapshot_is_small() -> None:
    recorder = Recorder(3)
    found("conv", callbacks=[recorder], momentum=0.0)
    assert {k.partition(".")[0] for k in recorder.taken[3][1]} == {"weights", "start_gaps"}


def test_a_search_that_had_ended_is_only_judged_again() -> None:
    whole, events = repaired("mlp")
    recorder = Recorder(len(events) - 1)
    coarse("mlp", callbacks=[recorder])
    ticks = Recorder()
    again = coarse("mlp", callbacks=[ticks], **resuming(recorder.taken[len(events) - 1]))
    assert same_path(again, whole) and not [e for e in ticks.events if e.startswith("tick")]


def test_the_settings_of_a_coarse_search_are_what_the_tests_above_rest_on() -> None:
    assert COARSE.rounds == 6 and set(GOALS) == set(tiny.TASKS)


# Progress -------------------------------------------------------------------------------------------------------------

texts = st.text(max_size=4)
identifiers = st.integers(0, 99)
rows = st.builds(
    Row,
    train=st.none() | st.floats(0, 9),
    parts=st.dictionaries(st.sampled_from(["256", "1024"]), st.lists(st.floats(0, 9), max_size=2).map(tuple)),
)
losses = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 9)), max_size=2).map(tuple)
stretches = st.builds(
    Stretch,
    identifiers,
    identifiers,
    st.sampled_from(("", DOWN, JOIN)),
    st.booleans(),
    losses,
    identifiers,
    st.floats(0, 1),
)
progresses = st.builds(
    Progress, st.lists(identifiers), st.lists(stretches, max_size=3),
    st.dictionaries(identifiers.map(str), st.builds(Knot, texts, leg=texts), max_size=3),
    st.builds(Fresh, st.lists(identifiers), identifiers), st.none() | st.dictionaries(texts, st.integers()),
    st.none() | texts, st.none() | texts, identifiers, st.lists(identifiers), st.floats(0, 9), identifiers,
    identifiers, identifiers, identifiers,
    st.dictionaries(texts, st.builds(Spent, st.floats(0, 1e6), identifiers), max_size=3),
    st.none()
    | st.builds(
        Ends, rows, rows, st.floats(0, 9), st.dictionaries(texts, rows, max_size=2), st.none() | st.floats(0, 9)
    ),
    st.dictionaries(texts, rows, max_size=3),
    st.lists(st.builds(Tick, texts, identifiers, *[st.floats(0, 9)] * 3, identifiers), max_size=3),
    identifiers, identifiers, st.dictionaries(texts, st.builds(LegCost, texts, identifiers), max_size=2),
    st.none() | st.builds(Rate, st.floats(0, 9), texts, identifiers, identifiers),
)  # fmt: skip


@given(progresses)
def test_progress_survives_json(progress: Progress) -> None:
    assert Progress.from_json(json.loads(json.dumps(progress.to_json()))) == progress


@pytest.mark.parametrize("damage", [{"todo": [{}]}, {"record": [3]}, {"labels": None}, {"ends": {"A": {}}}])
def test_what_is_no_progress_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=rf"Progress: {next(iter(damage))}"):
        Progress.from_json({**Progress().to_json(), **damage})
    missing = Progress().to_json()
    del missing["record"]
    with pytest.raises(TypeError, match="record is missing"):
        Progress.from_json(missing)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Progress(chain=[0, 7, 1]), "knots"),
        (Progress(chain=[0, 0]), "knots"),
        (Progress(next_knot=1), "next knot"),
        (Progress(outcome="A"), "no search ends in 'A'"),
        (Progress(ended="arrived"), "no search ends in 'arrived'"),
        (Progress(legs={"down": LegCost("", 3)}), "no search ends in ''"),
    ],
)
def test_progress_that_is_none_of_a_search_is_refused(wrong: Progress, said: str) -> None:
    Progress(outcome="BUDGET", legs={"down": LegCost("ARRIVED", 3)}).check()
    with pytest.raises(TypeError, match=said):
        wrong.check()
