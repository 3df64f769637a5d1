"""The mod: it merges instead of overwriting, and keeps the client's own model."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from helpers import tiny
from helpers.flower_apps import QUIET, app, echo, grid, number, record, state
from helpers.flower_clients import CLIENTS, accuracy, own, shard, start
from torch import nn

from llpf_flower import LLPFStrategy, llpf_merge_mod, merge_into_local, to_arrays
from llpf_flower.replies import RECORD
from llpf_plugin import Task, TensorData
from llpf_plugin.errors import RunError
from llpf_plugin.training import train


def linear(**options: Any) -> tuple[nn.Module, Any]:
    """A network with two inputs, and the mod for it."""
    net = nn.Linear(2, 2)
    task = Task(net, TensorData(torch.randn(8, 2), torch.arange(8) % 2))
    return net, llpf_merge_mod(lambda context: task, **options)


def test_with_plain_averaging_it_merges_instead_of_overwriting() -> None:
    received: list[float] = []

    def _train(message: Message, context: Context) -> dict[str, Any]:
        arrays = message.content["arrays"]
        received.append(accuracy(state(arrays), shard(context)))
        return {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}

    nodes = grid(app(_train, mods=[llpf_merge_mod(shard, own=own, share=0.5, steps=30)]), CLIENTS)
    made = LLPFStrategy(**QUIET)
    result = made.start(nodes, to_arrays(train(tiny.mlp(), 99)), num_rounds=2)
    # What the server's model would do on a client's data is another thing than what the client gets.
    assert min(received) > 0.9
    assert result.train_metrics_clientapp[2]["llpf-clients"] == CLIENTS


def sent_by(config: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The model that the only client trains on, and what it tells, with this train config."""
    told: list[dict[str, Any]] = []

    class Spy(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            replies = list(replies)
            told.extend(dict(r.content[RECORD]) for r in replies)
            return super().aggregate_train(server_round, replies)

    nodes = grid(app(echo, mods=[llpf_merge_mod(shard, own=own, share=0.5, steps=30)]), 1)
    made = Spy(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1)
    result = made.start(nodes, to_arrays(start(1)), 1, train_config=ConfigRecord(config))
    return state(result.arrays), told[0]


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({}, {"share": 0.5, "steps": 30}),
        ({"llpf-share": 0.2, "llpf-steps": 12}, {"share": 0.2, "steps": 12}),
        ({"llpf-active": ["0.weight"]}, {"share": 0.5, "steps": 30, "active": {"0.weight"}}),
    ],
)
def test_the_train_config_overrides_share_steps_and_active_layers(
    config: dict[str, Any], options: dict[str, Any]
) -> None:
    wanted = merge_into_local(start(0), start(1), shard(0), **options)
    found, told = sent_by(config)
    assert tiny.same(found, wanted.weights)
    assert (told["client"], told["mode"], told["moved"], told["ticks"]) == ("0", "merge", wanted.moved, wanted.ticks)


def test_the_train_config_can_ask_for_no_merge_at_all() -> None:
    found, told = sent_by({"llpf-mode": "average"})
    assert tiny.same(found, start(1)) and told == {"client": "0", "mode": "average"}


def test_it_leaves_other_messages_alone() -> None:
    mod, like, seen = llpf_merge_mod(shard, own=own), record(w=[[1.0, 2.0]]), list[Any]()
    grid(ClientApp(), 1)
    message = Message(RecordDict({"arrays": like}), 1, "query")
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    answer = mod(message, context, lambda m, c: seen.append(m.content["arrays"]) or m)  # type: ignore[func-returns-value]
    assert answer is message and seen == [like]


def test_mods_after_it_see_what_the_server_sent_and_the_whole_step() -> None:
    """Also those that look at the message again after the client has trained, and those of the app."""
    sent, seen = start(1), list[tuple[float, float]]()

    def gap(arrays: ArrayRecord, weights: dict[str, torch.Tensor]) -> float:
        return max(float((t - weights[k]).abs().max()) for k, t in state(arrays).items())

    def watch(message: Message, context: Context, call_next: Any) -> Message:
        answer = call_next(message, context)
        seen.append((gap(message.content["arrays"], sent), gap(answer.content["arrays"], wanted.weights)))
        return answer  # type: ignore[no-any-return]

    wanted = merge_into_local(start(0), sent, shard(0), share=0.5, steps=30)
    nodes = grid(app(echo, mods=[llpf_merge_mod(shard, own=own, share=0.5, steps=30), watch]), 1)
    made = FedAvg(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1)
    made.start(nodes, to_arrays(sent), 1)
    assert seen == [(0.0, 0.0)]


def test_a_client_that_answers_with_the_message_itself_sends_what_it_trained() -> None:
    made = ClientApp(mods=[llpf_merge_mod(shard, own=own, share=0.5, steps=30)])

    @made.train()
    def _train(message: Message, context: Context) -> Message:
        message.content["metrics"] = MetricRecord({"num-examples": 1})
        return Message(message.content, reply_to=message)

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1)
    found = state(strategy.start(grid(made, 1), to_arrays(start(1)), 1).arrays)
    assert tiny.same(found, merge_into_local(start(0), start(1), shard(0), share=0.5, steps=30).weights)


def test_a_clients_folder_keeps_the_order_of_the_arrays(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def _train(message: Message, context: Context) -> dict[str, Any]:
        seen.append(list(message.content["arrays"]))
        return echo(message, context)

    net, mod = linear(state_dir=tmp_path)
    LLPFStrategy(**QUIET).start(grid(app(_train, mods=[mod]), 2), to_arrays(net.state_dict()), 3)
    assert seen == [["weight", "bias"]] * 6


@pytest.mark.parametrize("folder", [False, True], ids=["context", "folder"])
def test_one_nan_does_not_exclude_a_client_for_ever(tmp_path: Path, folder: bool) -> None:
    def _train(message: Message, context: Context) -> dict[str, Any]:
        bad = number(context) == 0 and message.content["config"]["server-round"] == 1
        arrays = {
            k: np.full_like(a.numpy(), np.nan) if bad else a.numpy() for k, a in message.content["arrays"].items()
        }
        return {
            "arrays": ArrayRecord({k: Array(a) for k, a in arrays.items()}),
            "metrics": MetricRecord({"num-examples": 1}),
        }

    net, mod = linear(state_dir=tmp_path if folder else None)
    made = LLPFStrategy(**QUIET)
    made.start(grid(app(_train, mods=[mod]), 2), to_arrays(net.state_dict()), 3)
    assert [row["clients"] for row in made.rows] == [1, 2, 2]


def test_a_model_too_large_for_the_context_is_refused_before_any_work() -> None:
    net, mod = linear(state_limit=1)
    made = LLPFStrategy(**QUIET)
    with pytest.raises(RunError, match=r"no reply counted.*too large"):
        made.start(grid(app(echo, mods=[mod]), 2), to_arrays(net.state_dict()), 1)
    assert ["too large for Flower's context" in why for why in made.rows[0]["left_out"].values()] == [True, True]


def test_two_clients_of_one_file_are_told_so(tmp_path: Path) -> None:
    net, mod = linear(state_dir=tmp_path)
    nodes = grid(app(echo, mods=[mod]), 2, node_config={"partition-id": 7})
    made = LLPFStrategy(**QUIET)
    made.start(nodes, to_arrays(net.state_dict()), 1)
    assert ["two clients of this run" in why for why in made.rows[0]["left_out"].values()] == [True]
