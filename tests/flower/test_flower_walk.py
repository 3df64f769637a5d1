"""The federated walk: the client's half, its state, the mod, and `LLPFWalk` over an in-process Grid."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from helpers import tiny
from helpers.flower_apps import app, grid, number, record, reply, state, values
from torch import Tensor

from llpf_flower import LLPFStrategy, LLPFWalk, Pace, llpf_merge_mod, merge_into_local, to_arrays, to_weights
from llpf_flower.mean import average
from llpf_flower.replies import RECORD
from llpf_flower.serving import FITTED, as_good
from llpf_flower.state import OWN, Store
from llpf_flower.walk import in_common
from llpf_plugin import Task, TensorData
from llpf_plugin.errors import CheckpointError, LLPFError, MismatchError, RunError
from llpf_plugin.evaluation.point import reestimate, score
from llpf_plugin.geometry.sphere import spheres
from llpf_plugin.geometry.weights import Weights, assign, coordinates, distance, select
from llpf_plugin.training import train
from llpf_plugin.workspace import Gradient

CLIENTS = 3


def shard(context_or_number: Context | int) -> Task:
    """One client's third of the tiny task."""
    i = context_or_number if isinstance(context_or_number, int) else number(context_or_number)
    task = tiny.mlp()
    data = task.train
    assert isinstance(data, TensorData)
    mine = torch.arange(len(data)) // 6 % CLIENTS == i  # every client has examples of every cluster
    return replace(task, train=TensorData(data.inputs[mine], data.targets[mine]))


@cache
def _start(i: int) -> Weights:
    return train(shard(i), 10 + i)


def own(context: Context) -> Weights:
    """Every client's own trained model, from its own seed."""
    return _start(number(context))


def accuracy(weights: Mapping[str, Tensor], task: Task | None = None) -> float:
    gradient = Gradient(task or tiny.mlp())
    assign(gradient.model, weights)
    reestimate(gradient)
    found = score(gradient, gradient.task.train).accuracy
    assert found is not None
    return found


def plain_training(steps: int = 10) -> ClientApp:
    """A client as a user writes it, with no line for this package."""
    return _client([], steps)


def _client(mods: list[Any], steps: int = 10) -> ClientApp:
    made = ClientApp(mods=mods)

    @made.train()
    def _train(message: Message, context: Context) -> Message:
        task = shard(context)
        task.model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        optimizer = torch.optim.SGD(task.model.parameters(), 0.05)
        for step in range(steps):
            loss, _ = task.score(task.train.batch(16, number(context), step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        metrics = MetricRecord({"num-examples": len(task.train), "loss": float(loss.detach())})
        content = RecordDict({"arrays": ArrayRecord(task.model.state_dict()), "metrics": metrics})
        return Message(content, reply_to=message)

    @made.evaluate()
    def _evaluate(message: Message, context: Context) -> Message:
        got = accuracy(message.content["arrays"].to_torch_state_dict(), shard(context))
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1, "acc": got})}), reply_to=message)

    return made


def test_the_local_half_comes_closer_on_its_spheres_and_stays_good() -> None:
    task, before, incoming = shard(0), _start(0), _start(1)
    merged = merge_into_local(before, incoming, task, share=0.4, steps=100)
    names = list(coordinates(task.model))
    gap = [distance(select(w, names), select(incoming, names)) for w in (before, merged.weights)]
    assert merged.low and gap[1] < 0.8 * gap[0] and merged.moved == pytest.approx(1 - gap[1] / gap[0])
    assert spheres(select(merged.weights, names)) == pytest.approx(spheres(select(before, names)), rel=1e-4)
    assert accuracy(merged.weights, task) >= accuracy(before, task) - 0.02
    assert merged.incoming_loss > merged.own_loss and merged.ticks > 0


def test_the_local_half_keeps_to_its_steps_and_goes_on_with_the_next_batches() -> None:
    first = merge_into_local(_start(0), _start(1), shard(0), steps=7)
    assert first.pace.steps == 7
    second = merge_into_local(first.weights, _start(1), shard(0), steps=5, pace=first.pace)
    assert second.pace.steps <= 12 and second.pace.level == first.pace.level


def test_the_local_half_is_repeatable_bit_by_bit() -> None:
    runs = [merge_into_local(_start(0), _start(1), shard(0), steps=20, seed=3) for _ in range(2)]
    assert tiny.same(runs[0].weights, runs[1].weights)


def test_without_a_low_tick_the_client_keeps_its_model_and_tries_smaller_ones() -> None:
    task = shard(0)
    level = Pace(share=0.4, level=-1.0)  # no loss comes down to this
    merged = merge_into_local(_start(0), _start(1), task, share=1.0, steps=10, pace=level, tolerance=0.1)
    assert tiny.same(merged.weights, _start(0)) and not merged.low and merged.moved == 0.0 and merged.ticks == 0
    assert merged.pace.share <= 0.2


def test_inactive_layers_only_settle() -> None:
    names = {"0.weight", "0.bias"}
    merged = merge_into_local(_start(0), _start(1), shard(0), share=0.5, steps=100, active=names)
    moved = {k: distance({k: merged.weights[k]}, _start(0)) for k in ("0.weight", "2.weight")}
    gap = {k: distance({k: _start(0)[k]}, _start(1)) for k in moved}
    assert moved["0.weight"] / gap["0.weight"] > 2 * moved["2.weight"] / gap["2.weight"]


def test_the_local_half_refuses_what_does_not_fit() -> None:
    with pytest.raises(LLPFError, match="share = 0"):
        merge_into_local(_start(0), _start(1), shard(0), share=0)
    with pytest.raises(MismatchError, match=r"NaN or infinity in 0\.bias"):
        merge_into_local(_start(0), {**_start(1), "0.bias": torch.full((16,), torch.nan)}, shard(0))
    with pytest.raises(MismatchError, match=r"0\.weight"):
        merge_into_local(_start(0), {**_start(1), "0.weight": torch.ones(2, 2)}, shard(0))


# The client's own model between rounds


def context(node: int = 1, run: int = 1, **config: Any) -> Context:
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


# The mod with any strategy


def test_with_plain_averaging_the_mod_merges_instead_of_overwriting() -> None:
    received: list[float] = []
    mod = llpf_merge_mod(shard, own=own, share=0.5, steps=30)

    def _train(message: Message, context: Context) -> dict[str, Any]:
        arrays = message.content["arrays"]
        received.append(accuracy(state(arrays), shard(context)))
        return {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}

    client = app(_train)
    modded = ClientApp(mods=[mod])
    modded.train()(lambda message, context: client(message, context))
    start = to_arrays(train(tiny.mlp(), 99))
    result = LLPFStrategy(fraction_evaluate=0.0).start(grid(modded, CLIENTS), start, num_rounds=2)
    # What the server's model would do on a client's data is another thing than what the client gets.
    assert min(received) > 0.9
    assert result.train_metrics_clientapp[2]["llpf-clients"] == CLIENTS


def test_the_mod_leaves_other_messages_alone() -> None:
    mod = llpf_merge_mod(shard, own=own)
    seen: list[Any] = []
    grid(app(lambda m, c: {}), 1)
    message = Message(RecordDict({"arrays": LIKE}), 1, "query")
    answer = mod(message, context(), lambda m, c: seen.append(m.content["arrays"]) or m)  # type: ignore[func-returns-value]
    assert answer is message and seen == [LIKE]


# The walk


def walk(rounds: int, strategy: LLPFWalk | None = None, nodes: Any = None, **options: Any) -> tuple[LLPFWalk, Any, Any]:
    mod = llpf_merge_mod(shard, own=own, steps=20)
    nodes = nodes or grid(_client([mod]), CLIENTS)
    strategy = strategy or LLPFWalk(**options)
    start = to_arrays(train(tiny.mlp(), 99, epochs=0.1))
    result = strategy.start(nodes, strategy.arrays or start, num_rounds=rounds)
    return strategy, result, nodes


def test_from_independent_starts_nobody_is_worse_off_and_it_ends_in_one_good_model() -> None:
    strategy, result, _ = walk(8)
    starts = [accuracy(_start(i), shard(i)) for i in range(CLIENTS)]
    collapsed = accuracy({k: sum(_start(i)[k] for i in range(CLIENTS)) / CLIENTS for k in _start(0)})  # type: ignore[misc]
    served = [float(m["acc"]) for m in result.evaluate_metrics_clientapp.values()]  # type: ignore[arg-type]
    assert strategy.averaging and strategy.rows[-1]["serving"] == "mean"
    assert min(served) > np.mean(starts) - 0.02 > collapsed
    assert accuracy(to_weights(result.arrays)) > 0.95
    gaps = [row["consensus"] for row in strategy.rows]
    assert gaps[-1] < 0.3 * gaps[0]
    barriers = [row["barrier"] for row in strategy.rows if "barrier" in row]
    assert barriers and barriers[-1] <= strategy.tolerance


def test_a_clients_model_serves_until_the_mean_is_good() -> None:
    strategy, result, _ = walk(2, tolerance=1e-9, close=1.0)
    assert not strategy.averaging and strategy.rows[0]["serving"] == "client 0"
    assert accuracy(to_weights(result.arrays), shard(0)) > 0.95
    assert strategy.rows[0]["share"] == 0.5 and "barrier" not in strategy.rows[0]


def test_from_a_common_start_it_averages_from_the_first_round_on_as_fedavg() -> None:
    start = to_arrays(train(tiny.mlp(), 99))
    walking, averaging = LLPFWalk(), LLPFStrategy()
    found = walking.start(grid(_client([llpf_merge_mod(shard)]), CLIENTS), start, num_rounds=3)
    wanted = averaging.start(grid(plain_training(), CLIENTS), start, num_rounds=3)
    assert walking.averaging and values(found.arrays) == values(wanted.arrays)


def test_a_client_that_joins_late_walks_in_from_its_own_model() -> None:
    nodes = grid(_client([llpf_merge_mod(shard, own=own, steps=20)]), CLIENTS)
    nodes.silent = {1003}
    strategy, _, _ = walk(3, nodes=nodes, close=1.0, tolerance=1e-9)
    assert [row["left_out"] for row in strategy.rows] == [{1003: "it did not answer in time"}] * 3
    nodes.silent = set()
    strategy.load_state_dict(strategy.state_dict())  # else the next start is a new run
    walk(2, strategy=strategy, nodes=nodes)
    assert [row["clients"] for row in strategy.rows[3:]] == [3, 3]
    assert OWN in nodes.contexts[1003].state


def test_a_client_that_lost_its_model_is_left_out_once_and_asked_to_join_again() -> None:
    lost = grid(_client([llpf_merge_mod(shard, own=lambda c: own(c) if number(c) else None, steps=20)]), CLIENTS)
    strategy = LLPFWalk(tolerance=1e-9, close=1.0)
    walk(1, strategy=strategy, nodes=lost)
    lost.contexts[1001].state = RecordDict()
    strategy.load_state_dict(strategy.state_dict())
    walk(2, strategy=strategy, nodes=lost)
    assert "has lost its own model" in strategy.rows[1]["left_out"][1001]
    assert strategy.rows[2]["clients"] == CLIENTS


def told(arrays: ArrayRecord, node: int, loss: float) -> Message:
    """The reply of a client that walked."""
    made = reply(arrays, 1, node)
    made.content[RECORD] = ConfigRecord({"mode": "walk", "own_loss": 0.0, "incoming_loss": loss, "low": True})
    return made


FAR = [record(w=[[3.0, 0.0, 0.0, 1.0]]), record(w=[[2.0, 2.0, -2.0, 2.0]])]
"""Two models of variances 1.5 and 3: their mean keeps 1.625 of 2.25, and so they have 4/9 in common."""


@pytest.mark.parametrize(
    ("options", "serving"),
    [
        ({"close": 0.6, "patience": 1}, ["client 0", "mean"]),
        ({"close": 0.6, "patience": 2}, ["client 0", "client 0", "mean"]),
        ({"close": 0.4, "patience": 9}, ["mean"]),
        ({"close": 0.6, "patience": 9, "tolerance": 5.0}, ["mean"]),
    ],
)
def test_it_averages_clients_that_are_close_or_come_no_closer_or_whose_mean_is_good(
    options: dict[str, float], serving: list[str]
) -> None:
    strategy = LLPFWalk(**{"tolerance": 1e-6, **options})
    strategy.arrays = FAR[0]
    for number_of_round in range(1, len(serving) + 1):
        strategy.aggregate_train(number_of_round, [told(a, i, 5.0) for i, a in enumerate(FAR)])
    assert [row["serving"] for row in strategy.rows] == serving
    assert strategy.rows[0]["barrier"] == 5.0 and strategy.rows[0]["in common"] == pytest.approx(4 / 9)


def test_what_clients_have_in_common_does_not_depend_on_how_many_they_are() -> None:
    rng = torch.Generator().manual_seed(0)
    shared = torch.randn(400, 50, generator=rng)
    for weights in ([1.0, 1.0], [1.0] * 8, [1.0, 5.0, 2.0]):
        models = [
            (to_arrays({"w": 0.6**0.5 * shared + 0.4**0.5 * torch.randn(400, 50, generator=rng)}), w) for w in weights
        ]
        kept = average(models, models[0][0]).kept
        assert in_common(list(kept.values()), weights) == pytest.approx(0.6, abs=0.02)
    assert in_common([1.0], [3.0]) == 1.0


# Which model serves


def test_a_client_is_served_by_its_own_model_until_the_federations_is_as_good() -> None:
    strategy, result, _ = walk(6)
    waiting = [row["on their own"] for row in strategy.rows]
    assert waiting[:2] == [CLIENTS, CLIENTS] and waiting[-1] == 0
    served = [float(m["acc"]) for m in result.evaluate_metrics_clientapp.values()]  # type: ignore[arg-type]
    assert served[0] == pytest.approx(np.mean([accuracy(_start(i), shard(i)) for i in range(CLIENTS)]))


def test_a_mean_that_is_useless_is_not_served_even_once_the_federation_averages() -> None:
    strategy, result, _ = walk(1, close=-1, sphere="none")
    assert strategy.averaging and strategy.rows[0]["on their own"] == CLIENTS
    starts = np.mean([accuracy(_start(i), shard(i)) for i in range(CLIENTS)])
    assert accuracy(to_weights(result.arrays)) < starts - 0.02
    assert result.evaluate_metrics_clientapp[1]["acc"] == pytest.approx(starts)


def test_on_training_data_the_federations_model_has_room_and_on_validation_data_none() -> None:
    task, mine = replace(shard(0), validation=None), _start(0)
    other = {k: 0.5 * t for k, t in mine.items()}
    gradient = Gradient(task)
    losses = []
    for weights in (mine, other):
        assign(gradient.model, weights)
        losses.append(score(gradient, task.train).loss)
    room = losses[1] - losses[0]
    assert room > 0
    assert as_good(other, mine, task, tolerance=1.01 * room / FITTED)
    assert not as_good(other, mine, task, tolerance=0.99 * room / FITTED)
    held = replace(task, validation=task.train)
    assert not as_good(other, mine, held, tolerance=100.0) and as_good(mine, other, held)


@pytest.mark.parametrize(("low", "wanted"), [([True, True], 0.75), ([True, False], 0.5), ([False, False], 1 / 3)])
def test_the_share_grows_and_shrinks_by_who_ends_at_a_low_loss(low: list[bool], wanted: float) -> None:
    strategy = LLPFWalk(share=0.5)
    strategy.arrays = LIKE
    replies = [reply(LIKE, 1, i) for i in range(2)]
    for message, there in zip(replies, low, strict=True):
        words = {"mode": "walk", "own_loss": 0.0, "incoming_loss": 9.0, "low": there}
        message.content[RECORD] = ConfigRecord(words)
    strategy.aggregate_train(1, replies)
    assert strategy.share == pytest.approx(wanted)


def test_the_server_names_share_steps_and_active_layers() -> None:
    seen: list[dict[str, Any]] = []

    def listen(message: Message, context: Context) -> dict[str, Any]:
        seen.append(dict(message.content["config"]))  # type: ignore[call-overload]
        return {
            "arrays": to_arrays({k: torch.randn(t.shape) for k, t in state(message.content["arrays"]).items()}),
            "metrics": MetricRecord({"num-examples": 1}),
            RECORD: ConfigRecord({"mode": "walk", "own_loss": 0.0, "incoming_loss": 9.0, "low": True}),
        }

    task = tiny.mlp()
    strategy = LLPFWalk(
        layer_order=(lambda: tiny.mlp().model, task.example_inputs()), phases="layer", rounds_per_phase=2, steps=4,
        close=1.0, patience=9, fraction_evaluate=0.0,
    )  # fmt: skip
    strategy.start(grid(app(listen), 2), to_arrays(task.model.state_dict()), num_rounds=3)
    assert [c["llpf-mode"] for c in seen] == ["join"] * 2 + ["walk"] * 4
    assert seen[2]["llpf-active"] == ["0.bias", "0.weight"] and "llpf-active" not in seen[4]
    assert seen[2]["llpf-steps"] == 4 and seen[4]["llpf-share"] == 1.0


def test_a_walk_is_resumed(tmp_path: Path) -> None:
    whole, _, _ = walk(4, close=1.0, tolerance=1e-9, checkpoint_dir=tmp_path)
    again = LLPFWalk(close=1.0, tolerance=1e-9)
    again.resume(tmp_path / "round-00002.safetensors")
    assert (again.share, again.averaging, again.first_round) == (whole.rows[2]["share"], False, 2)
    assert again.mean is not None and len(again.rows) == 2
    with pytest.raises(LLPFError, match="does not walk"):
        again.load_state_dict(LLPFStrategy().state_dict())


@pytest.mark.parametrize("options", [{"share": 0.0}, {"share": 0.9, "most": 0.5}, {"patience": 0}, {"close": 1.5}])
def test_options_of_the_walk_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(LLPFError):
        LLPFWalk(**options)
