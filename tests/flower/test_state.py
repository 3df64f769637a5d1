"""A client's own model between rounds: in a folder, or in Flower's context."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from pathlib import Path
from typing import Any

import torch
from flwr.app import Context, RecordDict
from helpers import tiny
from helpers.flower_apps import record, state

from llpf_flower.state import OWN, Store
from llpf_plugin.errors import CheckpointError, MismatchError, RunError


def context(node: int = 1, run: int = 1, **config: Any) -> Context:
    """What a node that has just started gets: its state is empty."""
    return Context(run_id=run, node_id=node, node_config=config, state=RecordDict(), run_config={})


LIKE = record(w=[[1.0, 2.0]])


def test_models_live_in_the_context_or_in_the_folder_that_is_named(tmp_path: Path) -> None:
    small = Store(context())
    small.save(state(LIKE), {"pace": {"share": 0.5}})
    assert OWN in small.context.state
    named = Store(context(**{"partition-id": 7, "state-dir": str(tmp_path)}))
    assert named.load(LIKE) is None
    named.save(state(LIKE), {"pace": {"share": 0.5}})
    assert OWN not in named.context.state and [p.name for p in tmp_path.iterdir()] == ["client-7.safetensors"]
    for store in (small, named):
        found = store.load(LIKE)
        assert found is not None and found.notes == {"pace": {"share": 0.5}} and tiny.same(found.weights, state(LIKE))


def test_a_client_without_an_id_is_called_by_its_node(tmp_path: Path) -> None:
    Store(context(node=77), tmp_path).save(state(LIKE), {})
    assert (tmp_path / "client-77.safetensors").is_file()


def test_two_clients_with_one_state_file_are_told_so(tmp_path: Path) -> None:
    Store(context(1, **{"partition-id": 0}), tmp_path).save(state(LIKE), {})
    with pytest.raises(RunError, match=r"two clients of this run keep their model.*nodes 1 and 2"):
        Store(context(2, **{"partition-id": 0}), tmp_path).load(LIKE)
    # In a later run the same client has another node id.
    assert Store(context(2, run=2, **{"partition-id": 0}), tmp_path).load(LIKE) is not None


def in_round(server_round: int, node: int, folder: Path) -> Store:
    """The store of the client with partition 0, whose node trains in this round."""
    return Store(context(node, **{"partition-id": 0}), folder, server_round=server_round)


def test_a_node_that_restarts_again_and_again_takes_its_file_back(tmp_path: Path) -> None:
    for server_round, node in [(1, 11), (2, 22), (3, 22), (7, 5)]:
        store = in_round(server_round, node, tmp_path)
        assert server_round == 1 or store.load(LIKE) is not None
        store.save(state(LIKE), {"round": server_round})
    found = in_round(8, 5, tmp_path).load(LIKE)
    assert found is not None and found.notes == {"round": 7}


def test_two_clients_that_never_train_in_the_same_round_are_told_so(tmp_path: Path) -> None:
    in_round(1, 11, tmp_path).save(state(LIKE), {})
    in_round(4, 22, tmp_path).save(state(LIKE), {})  # so far, this might be a restart
    with pytest.raises(RunError, match=r"two clients of this run.*nodes 22 and 11"):
        in_round(9, 11, tmp_path).load(LIKE)
    assert in_round(10, 22, tmp_path).load(LIKE) is not None


def test_two_clients_that_train_at_the_same_time_are_told_so(tmp_path: Path) -> None:
    one, other = in_round(3, 11, tmp_path), in_round(3, 22, tmp_path)
    assert one.load(LIKE) is other.load(LIKE) is None
    one.save({"w": torch.ones(1, 2)}, {})
    with pytest.raises(RunError, match="two clients of this run"):
        other.save({"w": torch.zeros(1, 2)}, {})
    kept = in_round(4, 11, tmp_path).load(LIKE)
    assert kept is not None and kept.weights["w"].tolist() == [[1, 1]]


def test_what_a_killed_client_was_writing_is_removed_and_no_other_clients_file(tmp_path: Path) -> None:
    mine, others = tmp_path / ".client-0.1a2b.partial.safetensors", tmp_path / ".client-01.1a2b.partial.safetensors"
    for file in (mine, others):
        file.write_text("half of it")
    assert in_round(1, 1, tmp_path).load(LIKE) is None
    assert list(tmp_path.iterdir()) == [others]


def test_two_clients_share_a_folder_if_their_ids_differ(tmp_path: Path) -> None:
    for i in range(2):
        Store(context(i, **{"partition-id": i}), tmp_path).save({"w": torch.full((1, 2), float(i))}, {})
    for i in range(2):
        found = Store(context(i, **{"partition-id": i}), tmp_path).load(LIKE)
        assert found is not None and found.weights["w"].tolist() == [[i, i]]


def test_a_state_folder_that_cannot_be_used_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        Store(context(), tmp_path / "file" / "below").load(LIKE)
    with pytest.raises(RunError, match=r"too large for Flower's context.*state-dir"):
        Store(context(), limit=1).load(LIKE)


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(RunError, match="cannot be written to"):
        Store(context(), tmp_path).load(LIKE)


def test_another_model_in_the_state_is_refused(tmp_path: Path) -> None:
    Store(context(), tmp_path).save({"w": torch.ones(3)}, {})
    with pytest.raises(MismatchError, match="holds another model than the server sent: w differ"):
        Store(context(), tmp_path).load(LIKE)
    kept = Store(context())
    kept.save({"v": torch.ones(1, 2)}, {})
    with pytest.raises(MismatchError, match="the context holds another model"):
        kept.load(LIKE)


def test_a_damaged_state_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "client-1.safetensors").write_text("half of it")
    with pytest.raises(CheckpointError, match="is damaged"):
        Store(context(), tmp_path).load(LIKE)
