"""Which model serves a client: its own until the federation's is as good on the client's data."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from flwr.app import ConfigRecord
from flwr.serverapp.strategy import FedAvg
from helpers import tiny
from helpers.flower_apps import QUIET, app, echo, fixed, grid, record, values
from helpers.flower_clients import CLIENTS, accuracy, client, own, shard, start
from torch import nn

from llpf_flower import LLPFStrategy, llpf_merge_mod, to_arrays, to_weights
from llpf_flower.inprocess import InProcessGrid
from llpf_flower.serving import FITTED, as_good
from llpf_plugin import Task, TensorData
from llpf_plugin.evaluation import score
from llpf_plugin.geometry import assign
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace


def served(
    rounds: int, nodes: InProcessGrid | None = None, made: LLPFStrategy | None = None, **options: Any
) -> tuple[LLPFStrategy, Any]:
    """A run of clients that begin with models of their own."""
    nodes = nodes or grid(client([llpf_merge_mod(shard, own=own)], independent=True), CLIENTS)
    made = made or LLPFStrategy(serve_own=True, **options)
    return made, made.start(nodes, to_arrays(train(tiny.mlp(), 99, epochs=0.1)), rounds)


def accuracies(result: Any) -> list[float]:
    """Of the models that served, by round, over the clients' own data."""
    return [float(m["acc"]) for m in result.evaluate_metrics_clientapp.values()]


def own_accuracy() -> float:
    """Of the models that the clients begin with, on their own data."""
    return float(np.mean([accuracy(start(i), shard(i)) for i in range(CLIENTS)]))


def test_from_independent_starts_nobody_is_worse_off_and_it_ends_in_one_good_model() -> None:
    _, result = served(8)
    plain = accuracy({k: sum(start(i)[k] for i in range(CLIENTS)) / CLIENTS for k in start(0)})  # type: ignore[misc]
    assert min(accuracies(result)) > own_accuracy() - 0.02 > plain
    assert accuracy(to_weights(result.arrays)) > 0.95


def test_a_client_is_served_by_its_own_model_until_the_federations_is_as_good() -> None:
    made, result = served(6)
    waiting = [row["on their own"] for row in made.rows]
    assert waiting[0] == CLIENTS and waiting[-1] == 0 and "on their own" in made.table()
    assert accuracies(result)[0] == pytest.approx(own_accuracy())


def test_a_mean_that_is_useless_is_not_served() -> None:
    made, result = served(1, sphere="none")
    assert made.rows[0]["on their own"] == CLIENTS
    assert accuracy(to_weights(result.arrays)) < own_accuracy() - 0.02
    assert accuracies(result) == pytest.approx([own_accuracy()])


def test_a_mean_that_gets_worse_is_dropped_again() -> None:
    """Good in the first round, useless in the second: each evaluation chooses anew."""
    good, bad = to_arrays(start(0)), to_arrays({k: torch.zeros_like(t) for k, t in start(0).items()})
    app_of = client([llpf_merge_mod(lambda context: shard(0), own=lambda context: start(0))])
    on_their_own = []
    for arrays in (good, bad):
        made = LLPFStrategy(serve_own=True, fraction_train=0.0)
        made.rows.append({"round": 1, "clients": 0, "left_out": {}})
        nodes = grid(app_of, 2)
        messages = made.configure_evaluate(1, arrays, ConfigRecord(), nodes)
        made.aggregate_evaluate(1, nodes.send_and_receive(messages))
        on_their_own.append(made.rows[0]["on their own"])
    assert on_their_own == [0, 2]


def test_without_models_of_their_own_it_is_the_strategy_as_it_is() -> None:
    begin = to_arrays(train(tiny.mlp(), 99))
    serving, plain = LLPFStrategy(serve_own=True), LLPFStrategy()
    found = serving.start(grid(client([llpf_merge_mod(shard)]), CLIENTS), begin, 3)
    wanted = plain.start(grid(client(), CLIENTS), begin, 3)
    assert values(found.arrays) == values(wanted.arrays) and accuracies(found) == accuracies(wanted)
    assert [row["on their own"] for row in serving.rows] == [0, 0, 0]


def test_by_default_clients_evaluate_the_mean() -> None:
    nodes = grid(client([llpf_merge_mod(shard, own=own)], independent=True), CLIENTS)
    made = LLPFStrategy(sphere="none")
    result = made.start(nodes, to_arrays(train(tiny.mlp(), 99, epochs=0.1)), 1)
    mean = np.mean([accuracy(to_weights(result.arrays), shard(i)) for i in range(CLIENTS)])
    assert accuracies(result) == pytest.approx([mean]) and "on their own" not in made.rows[0]


def test_the_mod_serves_the_mean_to_a_server_that_does_not_ask() -> None:
    result = FedAvg().start(
        grid(client([llpf_merge_mod(shard, own=own)], independent=True), CLIENTS),
        to_arrays(train(tiny.mlp(), 99, epochs=0.1)), 1,
    )  # fmt: skip
    mean = np.mean([accuracy(to_weights(result.arrays), shard(i)) for i in range(CLIENTS)])
    assert accuracies(result) == pytest.approx([mean])


def test_a_client_that_comes_late_is_served_by_its_own_model_too() -> None:
    nodes = grid(client([llpf_merge_mod(shard, own=own)], independent=True), CLIENTS)
    nodes.silent = {1003}
    made, _ = served(1, nodes, sphere="none")
    assert (made.rows[0]["clients"], made.rows[0]["on their own"]) == (2, 2)
    nodes.silent = set()
    made.load_state_dict(made.state_dict())  # else the next start is a new run
    made.start(nodes, to_arrays({k: torch.zeros_like(t) for k, t in start(0).items()}), 1)
    assert (made.rows[1]["clients"], made.rows[1]["on their own"]) == (3, 3)


def test_while_it_serves_the_clients_train_on_the_federations_model_as_it_is() -> None:
    """And nothing is kept between rounds, so that a large model needs no folder."""
    net = nn.Linear(2, 2)
    task = Task(net, TensorData(torch.randn(8, 2), torch.arange(8) % 2))
    mine = {k: torch.full_like(t, 7.0) for k, t in net.state_dict().items()}
    mod = llpf_merge_mod(lambda context: task, own=lambda context: mine, state_limit=1)
    nodes, begin = grid(app(echo, mods=[mod]), 2), to_arrays(net.state_dict())
    made = LLPFStrategy(**QUIET, serve_own=True)
    assert values(made.start(nodes, begin, 2).arrays) == values(begin)
    assert [row["clients"] for row in made.rows] == [2, 2] and not any(c.state for c in nodes.contexts.values())


def test_clients_without_the_mod_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    made = LLPFStrategy(serve_own=True)
    made.start(grid(fixed({0: record(w=[[1.0, 2.0]]), 1: record(w=[[1.0, 2.0]])}), 2), record(w=[[1.0, 2.0]]), 1)
    assert "No client says which model serves it" in caplog.text and "on their own" not in made.rows[0]


def test_without_evaluation_nobody_is_said_to_be_on_the_federations_model(caplog: pytest.LogCaptureFixture) -> None:
    made, _ = served(1, fraction_evaluate=0.0)
    assert "on their own" not in made.rows[0] and "No client says" not in caplog.text


def test_on_training_data_the_federations_model_has_room_and_on_validation_data_none() -> None:
    task, mine = replace(shard(0), validation=None), start(0)
    other = {k: 0.5 * t for k, t in mine.items()}
    workspace, losses = Workspace(task), []
    for weights in (mine, other):
        assign(workspace.model, weights)
        losses.append(score(workspace, task.train).loss)
    room = losses[1] - losses[0]
    assert room > 0
    assert as_good(other, mine, task, tolerance=1.01 * room / FITTED)
    assert not as_good(other, mine, task, tolerance=0.99 * room / FITTED)
    held = replace(task, validation=task.train)
    assert not as_good(other, mine, held, tolerance=100.0) and as_good(mine, other, held)
