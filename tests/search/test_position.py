"""Searches on a loader that keeps its position go on with the batches that they would have got."""

import json
from typing import Any

import pytest
import torch
from helpers import loaders, tiny
from helpers.loaders import KINDS
from helpers.searches import COARSE, Recorder, resuming, same_path

from llpf_plugin import LoaderData, find_path
from llpf_plugin import Path as LossPath
from llpf_plugin.errors import RunError, TaskError
from llpf_plugin.tasks.position import decoded, encoded, now

every_kind = pytest.mark.parametrize("kind", KINDS)


def found(kind: str, seed: int = 0, **options: Any) -> LossPath:
    return find_path(*tiny.pair("mlp"), loaders.task(kind, seed), COARSE, max_loss=0.08, lr=0.1, **options)


@every_kind
def test_resumed_from_any_snapshot_it_ends_with_the_same_bits(kind: str) -> None:
    """The loader of the resumed search stands elsewhere, until it is put where the first one stood."""
    heard = Recorder()
    whole = found(kind, callbacks=[heard])
    assert not same_path(found(kind, seed=1), whole), "the batches count"
    places = {0, 1, 3, len(heard.events) // 2, len(heard.events) - 2}
    recorder = Recorder(*places)
    assert same_path(found(kind, callbacks=[recorder]), whole)  # a snapshot changes nothing
    for place, taken in recorder.taken.items():
        assert same_path(found(kind, seed=1 if place else 0, **resuming(taken)), whole), heard.events[place]


@every_kind
def test_every_search_with_a_task_gets_the_same_batches(kind: str) -> None:
    task = loaders.task(kind, noise=0)
    one, other = (find_path(*tiny.pair("mlp"), task, COARSE, max_loss=0.08, lr=0.1) for _ in range(2))
    assert same_path(one, other)


@every_kind
def test_scoring_on_the_training_loader_does_not_move_it(kind: str) -> None:
    plain, scored = (LoaderData(loaders.loader(kind)) for _ in range(2))
    for step in range(7):
        x, y = plain.batch(32, 0, step), scored.batch(32, 0, step)
        assert all(map(torch.equal, x, y))
        list(scored.batches(32, 40))
        list(scored.draw(10, step).batches(32))


@pytest.mark.slow
def test_workers_go_on_where_they_were() -> None:
    pytest.importorskip("torchdata", reason="torchdata is not installed")
    one, other = (LoaderData(loaders.loader("torchdata", seed, workers=2)) for seed in (0, 1))
    rows = [one.batch(32, 0, step)[1] for step in range(5)]
    other.position.begin(now(one))  # type: ignore[union-attr]
    assert all(torch.equal(one.batch(32, 0, step)[1], other.batch(32, 0, step)[1]) for step in range(5, 9)) and rows


def test_what_is_no_position_is_refused() -> None:
    recorder = Recorder(2)
    found("own", callbacks=[recorder])
    values, *rest = recorder.taken[2]
    for odd in ({":mapping": []}, {":tensor": ["float99", [1], ""]}, {"other": 1}, [1], {":mapping": [["name", "x"]]}):
        edited = json.dumps({**json.loads(values), "loader": odd})
        with pytest.raises(RunError, match="position of the training loader that was saved is not one of this loader"):
            found("own", **resuming((edited, *rest)))  # type: ignore[arg-type]


def test_what_cannot_be_saved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders.Kept, "state_dict", lambda self: {"odd": {1, 2}})
    with pytest.raises(TaskError, match="the position of the training loader holds a set"):
        found("own", callbacks=[Recorder(2)])


def test_positions_are_json_and_come_back() -> None:
    value = {"a": (1, 2.5, None, True), 3: [b"\x00\xff", torch.arange(6.0).view(2, 3)], "t": torch.tensor(7), "e": {}}
    again = decoded(json.loads(json.dumps(encoded(value))))
    assert again["a"] == value["a"] and again[3][0] == b"\x00\xff" and again["e"] == {}
    assert torch.equal(again[3][1], value[3][1]) and torch.equal(again["t"], value["t"])  # type: ignore[index, arg-type]
    with pytest.raises(TaskError, match="holds a object"):
        encoded([object()])
