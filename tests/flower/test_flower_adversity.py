"""What real federations do to a strategy: odd arrays, odd metrics, runs that follow runs, clients that come and go."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from helpers.flower_apps import app, fixed, grid, number, record, reply, values
from torch import nn

from llpf_flower import LLPFStrategy, LLPFWalk, llpf_merge_mod, to_arrays
from llpf_flower.replies import RECORD
from llpf_plugin import Task, TensorData
from llpf_plugin.errors import OrderError
from llpf_plugin.order import layer_order

QUIET: dict[str, Any] = {"fraction_evaluate": 0.0}


def echo(message: Message, context: Context) -> dict[str, Any]:
    return {"arrays": message.content["arrays"], "metrics": MetricRecord({"num-examples": 1})}


def through(arrays: ArrayRecord, rounds: int = 1, **options: Any) -> tuple[LLPFStrategy, dict[str, Any]]:
    """What becomes of a model that two clients send back as they got it."""
    made = LLPFStrategy(**QUIET, **options)
    return made, values(made.start(grid(app(echo), 2), arrays, rounds).arrays)


# Arrays


def test_a_resumed_run_keeps_the_order_of_the_arrays(tmp_path: Path) -> None:
    start = ArrayRecord([np.full((2, 2), float(i), np.float32) for i in range(12)])
    through(start, sphere="none", checkpoint_dir=tmp_path)
    assert list(LLPFStrategy().resume(tmp_path)) == list(start)


def test_a_clients_folder_keeps_the_order_of_the_arrays(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def train(message: Message, context: Context) -> dict[str, Any]:
        seen.append(list(message.content["arrays"]))
        return echo(message, context)

    net = nn.Linear(2, 2)
    task = Task(net, TensorData(torch.randn(8, 2), torch.arange(8) % 2))
    client = app(train, mods=[llpf_merge_mod(lambda context: task, state_dir=tmp_path)])
    LLPFStrategy(**QUIET).start(grid(client, 2), to_arrays(net.state_dict()), 3)
    assert seen == [["weight", "bias"]] * 6


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False]),
        np.array([[1 + 2j, 3 - 1j]], np.complex64),
        np.array([[0.0, -np.inf], [0.0, 0.0]], np.float32),
        np.array(3, np.int64),
    ],
    ids=["bool", "complex", "an attention mask", "integer"],
)
def test_arrays_that_are_no_weights_pass_through_unharmed(array: np.ndarray[Any, Any]) -> None:
    made, got = through(ArrayRecord({"w": Array(np.ones((2, 2), np.float32)), "odd": Array(array)}), 2)
    assert made.rows[-1]["clients"] == 2 and got["odd"] == array.tolist()


def test_an_infinity_that_the_model_had_not_is_still_left_out() -> None:
    mask = record(w=[[0.0, -np.inf]])
    made = LLPFStrategy(**QUIET)
    made.start(grid(fixed({0: mask, 1: record(w=[[-np.inf, 0.0]])}), 2), mask, 1)
    assert "NaN or infinity" in made.rows[0]["left_out"][1002] and 1001 not in made.rows[0]["left_out"]


def test_equal_models_stay_as_they_are_bit_by_bit() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        start = ArrayRecord({"w": Array(rng.normal(size=(64, 32)).astype(np.float32))})
        assert through(start)[1] == values(start)


def test_numbers_too_large_to_be_squared_do_not_become_nan() -> None:
    made = LLPFStrategy(**QUIET)
    models = {0: record(w=[[1.0, 2.0]]), 1: record(w=[[2.0, 1e20]])}
    found = values(made.start(grid(fixed(models), 2), models[0], 1).arrays)
    np.testing.assert_allclose(found["w"], [[1.5, 5e19]])


def test_magnitudes_of_weight_normalisation_have_no_sphere() -> None:
    net = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    made, _ = through(to_arrays(net.state_dict()))
    assert list(made.rows[0]["variance"]) == ["parametrizations.weight"]  # of original1 alone
    made = LLPFStrategy(**QUIET)
    apart = [to_arrays({k: c * t for k, t in net.state_dict().items()}) for c in (1.0, 3.0)]
    found = made.start(grid(fixed(dict(enumerate(apart))), 2), apart[0], 1).arrays
    np.testing.assert_allclose(
        found["parametrizations.weight.original0"].numpy(),
        2 * net.parametrizations.weight.original0.detach().numpy(),
        rtol=1e-6,
    )


def test_inactive_layers_take_the_dtype_that_is_asked_for() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    order: dict[str, Any] = {"layer_order": layer_order(net, torch.zeros(1, 2)), "phases": 2, "rounds_per_phase": 9}
    made = LLPFStrategy(**QUIET, **order, dtype="float16")
    found = made.start(grid(app(echo), 2), to_arrays(net.state_dict()), 1).arrays
    assert {a.dtype for a in found.values()} == {"float16"}


# Phases


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("place", torch.zeros(3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(ids) + self.place)


def test_phases_know_tied_weights_and_buffers() -> None:
    start = to_arrays(Tied().state_dict())
    ids = torch.zeros(1, 2, dtype=torch.long)
    made, found = through(start, layer_order=(Tied, ids), phases="layer")
    assert made.rows[0]["clients"] == 2 and found == values(start)
    assert all("head.weight" in names and "place" in names for names in made.phases.values())
    with pytest.raises(OrderError, match=r"place is not in both.*model factory"):
        through(start, layer_order=layer_order(Tied(), ids), phases="layer")


def test_momentum_carries_no_layers_first_step_on() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    start = to_arrays({k: torch.zeros_like(t) for k, t in net.state_dict().items()})
    ones = to_arrays({k: torch.ones_like(t) for k, t in net.state_dict().items()})
    order: dict[str, Any] = {"layer_order": layer_order(net, torch.zeros(1, 1)), "phases": "layer"}
    made = LLPFStrategy(**QUIET, **order, server_momentum=0.5, sphere="none", rounds_per_phase=2)
    found = []

    def note(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        found.append([a.numpy().item() for a in arrays.values()])
        return MetricRecord({"x": 0})

    made.start(grid(fixed({0: ones, 1: ones}), 2), start, 5, evaluate_fn=note)
    assert found[1:] == [[1, 0], [1, 0], [1, 1], [1, 1], [1, 1]]


# Metrics


def test_metrics_with_the_names_of_ours_overwrite_nothing(tmp_path: Path) -> None:
    def train(message: Message, context: Context) -> dict[str, Any]:
        metrics = {"num-examples": number(context) + 1, "round": 0.5, "consensus": 5.0, "clients": 7}
        return {"arrays": message.content["arrays"], "metrics": MetricRecord(metrics)}

    made = LLPFStrategy(**QUIET, checkpoint_dir=tmp_path)
    made.start(grid(app(train), 3), record(w=[[1.0, 2.0]]), 2)
    assert [(r["round"], r["clients"], r["consensus"]) for r in made.rows] == [(1, 3, 0.0), (2, 3, 0.0)]
    assert made.rows[0]["train consensus"] == 5.0
    again = LLPFStrategy()
    again.resume(tmp_path)
    assert again.first_round == 2


def test_odd_metrics_do_not_end_the_run(tmp_path: Path) -> None:
    def train(message: Message, context: Context) -> dict[str, Any]:
        i = number(context)
        metrics = {"num-examples": 1, "loss": 1.0, "by class": [1.0] * (i + 1)}
        return {"arrays": message.content["arrays"], "metrics": MetricRecord(metrics)}

    def evaluate(message: Message, context: Context) -> dict[str, Any]:
        i = number(context)
        if i == 0:
            return {"metrics": MetricRecord({"num-examples": 0, "acc": 1.0})}
        return {"metrics": MetricRecord({"num-examples": 1, "acc": 0.5, f"only {i}": 1.0})}

    made = LLPFStrategy(checkpoint_dir=tmp_path)
    result = made.start(grid(app(train, evaluate), 3), record(w=[[1.0, 2.0]]), 1)
    assert dict(result.evaluate_metrics_clientapp[1]) == {"acc": 0.5}
    assert result.train_metrics_clientapp[1]["loss"] == 1.0 and "by class" not in result.train_metrics_clientapp[1]
    assert (tmp_path / "round-00001.safetensors").is_file()


def test_a_checkpoint_is_written_even_if_the_users_evaluation_fails(tmp_path: Path) -> None:
    def broken(contents: list[RecordDict], weighted_by: str) -> MetricRecord:
        raise RuntimeError("on purpose")

    made = LLPFStrategy(checkpoint_dir=tmp_path, evaluate_metrics_aggr_fn=broken)
    with pytest.raises(RuntimeError, match="on purpose"):
        made.start(grid(app(echo), 2), record(w=[[1.0, 2.0]]), 1)
    assert LLPFStrategy().resume(tmp_path)


def test_a_function_of_the_user_gets_the_replies_as_from_fedavg() -> None:
    def train(message: Message, context: Context) -> dict[str, Any]:
        words = ConfigRecord({"who": number(context)})
        return {"arrays": message.content["arrays"], "mine": MetricRecord({"num-examples": 1}), "words": words}

    def collect(contents: list[RecordDict], weighted_by: str) -> MetricRecord:
        assert all(c["mine"][weighted_by] == 1 and "arrays" in c for c in contents)
        return MetricRecord({"who": [int(c["words"]["who"]) for c in contents]})

    made = LLPFStrategy(**QUIET, train_metrics_aggr_fn=collect)
    result = made.start(grid(app(train), 3), record(w=[[1.0, 2.0]]), 1)
    assert result.train_metrics_clientapp[1]["who"] == [0, 1, 2]


def test_the_order_of_evaluation_replies_changes_no_bit() -> None:
    sent = [reply(record(w=[1.0]), 1, node, x=x) for node, x in enumerate([0.1, 0.2, 0.3, 0.7])]
    found = {LLPFStrategy().aggregate_evaluate(1, order)["x"] for order in permutations(sent)}  # type: ignore[index]
    assert len(found) == 1


def test_a_checkpoint_has_the_servers_own_evaluation(tmp_path: Path) -> None:
    def run(made: LLPFStrategy, start: ArrayRecord, rounds: int) -> LLPFStrategy:
        made.start(grid(app(echo), 2), start, rounds, evaluate_fn=lambda r, _: MetricRecord({"acc": float(r)}))
        return made

    start = record(w=[[1.0, 2.0]])
    whole = run(LLPFStrategy(**QUIET), start, 4)
    run(LLPFStrategy(**QUIET, checkpoint_dir=tmp_path), start, 2)
    again = LLPFStrategy(**QUIET)
    run(again, again.resume(tmp_path), 2)
    assert again.rows == whole.rows


# Runs that follow runs


def test_the_newest_checkpoint_is_that_of_the_last_run(tmp_path: Path) -> None:
    through(record(w=[[1.0, 2.0]]), 5, checkpoint_dir=tmp_path)
    through(record(w=[[3.0, 4.0]]), 2, checkpoint_dir=tmp_path)
    again = LLPFStrategy()
    assert values(again.resume(tmp_path)) == {"w": [[3.0, 4.0]]} and again.first_round == 2


def test_a_second_start_begins_anew() -> None:
    made = LLPFStrategy(**QUIET, server_momentum=0.5)
    clients = fixed({0: record(w=[[1.0, 3.0]]), 1: record(w=[[2.0, 5.0]])})
    found = [values(made.start(grid(clients, 2), record(w=[[0.0, 1.0]]), 3).arrays) for _ in range(2)]
    assert found[0] == found[1] and [row["round"] for row in made.rows] == [1, 2, 3]


def test_a_state_is_no_window_into_the_strategy() -> None:
    made, _ = through(record(w=[[1.0, 2.0]]))
    state = made.state_dict()
    made.rows.append({"round": 2})
    assert len(state["rows"]) == 1


def test_the_callers_configs_stay_as_they_were() -> None:
    own, other = ConfigRecord({"lr": 0.1}), ConfigRecord({"lr": 0.1})
    LLPFWalk().start(grid(app(echo), 2), record(w=[[1.0, 2.0]]), 1, train_config=own, evaluate_config=other)
    assert not any(key.startswith("llpf") for key in (*own, *other))


# Clients that come and go


def walked(arrays: ArrayRecord, node: int, mode: str = "walk", examples: float = 1, loss: float = 5.0) -> Message:
    """The reply of a client that walked, or joins."""
    made = reply(arrays, examples, node)
    words: dict[str, Any] = {"mode": mode, "own_loss": 0.0, "incoming_loss": loss, "low": True}
    made.content[RECORD] = ConfigRecord(words)
    return made


def unrelated(count: int, apart: float = 1.0) -> list[ArrayRecord]:
    """Models whose tensors share a part: ``apart`` of their variance is their own."""
    rng = torch.Generator().manual_seed(0)
    shared = torch.randn(400, 50, generator=rng)
    own = [torch.randn(400, 50, generator=rng) for _ in range(count)]
    return [to_arrays({"w": (1 - apart) ** 0.5 * shared + apart**0.5 * t}) for t in own]


def walker(**options: Any) -> LLPFWalk:
    made = LLPFWalk(**{**QUIET, "close": 1.0, "tolerance": 1e-9, **options})
    made.arrays = unrelated(1)[0]
    return made


def test_one_client_of_two_decides_nothing() -> None:
    made, (a, b) = walker(), unrelated(2)
    made._asked = {1, 2}
    made.aggregate_train(1, [walked(a, 1, "join")])
    assert not made.averaging
    made._asked = {1, 2}
    made.aggregate_train(1, [reply(a, 1, 1)])  # it has no model of its own; the other has not said
    assert not made.averaging
    made.aggregate_train(2, [walked(a, 1), walked(b, 2)])
    assert not made.averaging


def test_rounds_in_which_clients_only_join_are_no_standstill() -> None:
    made, models = walker(), unrelated(6)
    for r, pair in enumerate((models[:2], models[2:4], models[4:]), start=1):
        made.aggregate_train(r, [walked(a, 2 * r + i, "join") for i, a in enumerate(pair)])
    assert not made.averaging


def test_coming_closer_does_not_depend_on_how_many_came() -> None:
    made = walker()
    for r, (count, apart) in enumerate(((6, 1.0), (3, 0.8), (6, 0.64)), start=1):
        made.aggregate_train(r, [walked(a, i) for i, a in enumerate(unrelated(count, apart))])
        assert not made.averaging
    made.aggregate_train(4, [walked(a, i) for i, a in enumerate(unrelated(3, 0.64))])
    assert made.averaging and made.mean is None


def test_minus_one_averages_whatever_the_weights_are() -> None:
    made = walker(close=-1)
    small, large = to_arrays({"w": 3.2 * torch.randn(400, 50)}), to_arrays({"w": torch.randn(400, 50)})
    made.aggregate_train(1, [walked(large, 1, "join", 900), walked(small, 2, "join", 100)])
    assert made.averaging


def test_a_barrier_that_is_no_number_is_not_counted() -> None:
    made, (a, b) = walker(tolerance=10.0), unrelated(2)
    made.aggregate_train(1, [walked(a, 1, loss=float("nan")), walked(b, 2, loss=5.0)])
    assert made.rows[0]["barrier"] == 5.0 and made.averaging


def test_the_serving_model_keeps_the_order_and_dtypes_of_the_servers() -> None:
    made = LLPFWalk(**QUIET, close=1.0, tolerance=1e-9)
    rng = torch.Generator().manual_seed(0)
    made.arrays = to_arrays({"b": torch.randn(20, 20, generator=rng), "a": torch.randn(20, 20, generator=rng)})
    models = [to_arrays({k: torch.randn(20, 20, generator=rng).double() for k in ("a", "b")}) for _ in range(2)]
    found, _ = made.aggregate_train(1, [walked(m, i, "join") for i, m in enumerate(models)])
    assert found is not None and {k: a.dtype for k, a in found.items()} == {"b": "float32", "a": "float32"}
    assert list(found) == ["b", "a"]


def test_without_evaluation_nobody_is_said_to_be_on_the_federations_model() -> None:
    made = walker()
    made.aggregate_train(1, [walked(a, i) for i, a in enumerate(unrelated(2))])
    made.aggregate_evaluate(1, [])
    assert "on their own" not in made.rows[0]


@pytest.mark.parametrize("folder", [False, True], ids=["context", "folder"])
def test_one_nan_does_not_exclude_a_client_for_ever(tmp_path: Path, folder: bool) -> None:
    def train(message: Message, context: Context) -> dict[str, Any]:
        bad = number(context) == 0 and message.content["config"]["server-round"] == 1
        arrays = {
            k: np.full_like(a.numpy(), np.nan) if bad else a.numpy() for k, a in message.content["arrays"].items()
        }
        return {
            "arrays": ArrayRecord({k: Array(a) for k, a in arrays.items()}),
            "metrics": MetricRecord({"num-examples": 1}),
        }

    net = nn.Linear(2, 2)
    task = Task(net, TensorData(torch.randn(8, 2), torch.arange(8) % 2))
    client = app(train, mods=[llpf_merge_mod(lambda context: task, state_dir=tmp_path if folder else None)])
    made = LLPFStrategy(**QUIET)
    made.start(grid(client, 2), to_arrays(net.state_dict()), 3)
    assert [row["clients"] for row in made.rows] == [1, 2, 2]


def test_while_the_federation_averages_a_large_model_needs_no_folder() -> None:
    net = nn.Linear(2, 2)
    client = app(
        echo,
        mods=[llpf_merge_mod(lambda context: Task(net, TensorData(torch.zeros(1, 2), torch.zeros(1))), state_limit=1)],
    )
    nodes = grid(client, 2)
    made = LLPFStrategy(**QUIET)
    made.start(nodes, to_arrays(net.state_dict()), 1, train_config=ConfigRecord({"llpf-mode": "average"}))
    assert made.rows[0]["clients"] == 2 and not any(c.state for c in nodes.contexts.values())


def test_two_clients_of_one_file_are_told_so_while_the_federation_averages(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    client = app(
        echo,
        mods=[
            llpf_merge_mod(lambda context: Task(net, TensorData(torch.zeros(1, 2), torch.zeros(1))), state_dir=tmp_path)
        ],
    )
    nodes = grid(client, 2, node_config={"partition-id": 7})
    made = LLPFStrategy(**QUIET)
    made.start(nodes, to_arrays(net.state_dict()), 1, train_config=ConfigRecord({"llpf-mode": "average"}))
    assert ["two clients of this run" in why for why in made.rows[0]["left_out"].values()] == [True]
