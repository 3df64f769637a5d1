"""`LLPFStrategy` over an in-process Grid and with replies made by hand."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from helpers import flower_apps
from helpers.flower_apps import Reply, app, fixed, grid, number, record, reply, values
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llpf_flower import LLPFStrategy, checkpoint, to_arrays
from llpf_flower.history import table
from llpf_plugin import Task, TensorData
from llpf_plugin.errors import CheckpointError, LLPFError, MismatchError, OrderError
from llpf_plugin.order import layer_order

GOOD = {0: record(w=[[1.0, -1.0]]), 1: record(w=[[3.0, -3.0]])}
START = record(w=[[0.0, 0.0]])


def strategy(**options: Any) -> LLPFStrategy:
    made = LLPFStrategy(**{"fraction_evaluate": 0.0, "sphere": "none", **options})
    made.arrays = START
    return made


def aggregate(made: LLPFStrategy, *replies: Message) -> tuple[Any, MetricRecord]:
    arrays, metrics = made.aggregate_train(1, replies)
    assert metrics is not None
    return (None if arrays is None else values(arrays)), metrics


def test_it_runs_as_fedavg_does_and_its_mean_is_on_the_sphere() -> None:
    made = LLPFStrategy()
    result = made.start(grid(fixed(GOOD, {0: 1, 1: 1}), 2), START, num_rounds=2)
    np.testing.assert_allclose(result.arrays["w"].numpy(), [[5**0.5, -(5**0.5)]], rtol=1e-6)
    metrics = result.train_metrics_clientapp[2]
    assert (metrics["loss"], metrics["llpf-clients"], metrics["llpf-left-out"]) == (0.5, 2, 0)
    assert metrics["llpf-variance/w"] == pytest.approx(0.8) and metrics["llpf-variance-kept"] == pytest.approx(0.8)
    assert result.evaluate_metrics_clientapp[2]["x"] == 1.0
    assert [row["round"] for row in made.rows] == [1, 2] and "client x" in made.table()


def test_metrics_and_consensus_worked_by_hand() -> None:
    # Weights 1 and 3: the mean is (2.5, -2.5), of norm 12.5^.5; distances² 4.5 and 0.5, their mean 1.5.
    found, metrics = aggregate(strategy(), reply(GOOD[0], 1, 1, loss=1.0), reply(GOOD[1], 3, 2, loss=2.0))
    assert found == {"w": [[2.5, -2.5]]}
    assert metrics["loss"] == 1.75 and metrics["llpf-consensus"] == pytest.approx((1.5 / 12.5) ** 0.5)


BAD = {
    "holds NaN": reply(record(w=[[np.nan, 0.0]]), 1, 9),
    "or infinity": reply(record(w=[[np.inf, 0.0]]), 1, 9),
    "lacks w": reply(record(v=[[1.0, 1.0]]), 1, 9),
    "which the global model has not": reply(record(w=[[1.0, 1.0]], v=[1.0]), 1, 9),
    r"is \(1, 3\), the global model's is \(1, 2\)": reply(record(w=[[1.0, 1.0, 1.0]]), 1, 9),
    "trained on 0 examples": reply(GOOD[0], 0, 9),
    "trained on -2": reply(GOOD[0], -2.0, 9),
    "trained on nan": reply(GOOD[0], float("nan"), 9),
    "cannot be read": reply(record(w=np.array([["a", "b"]])), 1, 9),
    "no number 'num-examples'": Reply(RecordDict({"arrays": GOOD[0], "metrics": MetricRecord({"n": 1})}), 9),
    "one MetricRecord, here are 0": Reply(RecordDict({"arrays": GOOD[0]}), 9),
    "it failed: on purpose": Reply(None, 9, Error(code=2, reason="on purpose")),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_reply_is_left_out_and_named(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    made = strategy()
    found, metrics = aggregate(made, reply(GOOD[0], 1, 1), BAD[reason], reply(GOOD[1], 1, 2))
    assert found == {"w": [[2.0, -2.0]]}
    assert (metrics["llpf-clients"], metrics["llpf-left-out"], metrics["llpf-left-out-nodes"]) == (2, 1, [9])
    assert re.search(reason, made.rows[-1]["left_out"][9])
    assert made.rows[-1]["left_out"][9] in caplog.text and "Node 9" in caplog.text


def test_the_largest_finite_numbers_are_no_infinity() -> None:
    most = np.finfo(np.float32).max
    found, _ = aggregate(strategy(), reply(record(w=[[most, most]]), 1, 1))
    assert found == {"w": [[float(most), float(most)]]}


def test_if_none_is_left_the_old_model_stays() -> None:
    made = strategy()
    found, metrics = aggregate(made, BAD["holds NaN"])
    assert found is None and metrics["llpf-clients"] == 0 and values(made.arrays) == values(START)
    result = made.start(grid(fixed({0: record(w=[[np.nan, 1.0]]), 1: GOOD[0]}, {1: 0}), 2), START, num_rounds=2)
    assert values(result.arrays) == values(START) and len(made.rows[-1]["left_out"]) == 2


def test_a_client_that_raises_and_one_that_is_late_are_named() -> None:
    def train(message: Message, context: Context) -> dict[str, Any]:
        if number(context) == 0:
            raise RuntimeError("no data today")
        return {"arrays": GOOD[1], "metrics": MetricRecord({"num-examples": 1})}

    three = grid(app(train), 3)
    three.silent = {1003}
    made = strategy()
    result = made.start(three, START, num_rounds=1)
    assert values(result.arrays) == values(GOOD[1])
    reasons = made.rows[0]["left_out"]
    assert "no data today" in reasons[1001] and reasons[1003] == "it did not answer in time"
    assert result.train_metrics_clientapp[1]["llpf-left-out-nodes"] == [1001, 1003]


def test_a_client_whose_model_is_bfloat16_is_named_and_to_arrays_is_the_remedy() -> None:
    weights = {"w": torch.tensor([[1.0, -1.0]], dtype=torch.bfloat16)}

    def train(message: Message, context: Context) -> dict[str, Any]:
        arrays = ArrayRecord(weights) if number(context) == 0 else to_arrays(weights)
        return {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}

    made = strategy()
    result = made.start(grid(app(train), 2), START, num_rounds=1)
    assert "BFloat16" in made.rows[0]["left_out"][1001]
    assert values(result.arrays) == {"w": [[1.0, -1.0]]}


def test_clients_of_a_global_model_that_grew_a_layer_are_left_out() -> None:
    grown = ArrayRecord({**START, "new.weight": Array(np.zeros((2, 2), np.float32))})
    made = strategy()
    result = made.start(grid(fixed(GOOD), 2), grown, num_rounds=1)
    assert values(result.arrays) == values(grown)
    assert made.rows[0]["left_out"] == dict.fromkeys((1001, 1002), "its model lacks new.weight")


def test_metrics_that_only_some_clients_send_do_not_end_the_run() -> None:
    found, metrics = aggregate(strategy(), reply(GOOD[0], 1, 1, loss=1.0, more=2.0), reply(GOOD[1], 1, 2, loss=3.0))
    assert found is not None and metrics["loss"] == 2.0 and "more" not in metrics


@settings(max_examples=40)
@given(st.permutations(range(6)), st.booleans())
def test_law_the_order_of_replies_changes_no_bit(order: list[int], named: bool) -> None:
    rng = np.random.default_rng(1)
    replies = [
        reply(record(w=rng.normal(size=(3, 5)).astype(np.float32)), i + 1, 7 - i, f"{i}" if named else "", loss=0.1 * i)
        for i in range(6)
    ]
    made, shuffled = strategy(sphere="clients"), strategy(sphere="clients")
    made.arrays = shuffled.arrays = record(w=np.zeros((3, 5), np.float32))
    assert aggregate(made, *replies) == aggregate(shuffled, *[replies[i] for i in order])


def test_clients_without_an_id_are_ordered_by_node_after_those_with_one() -> None:
    from llpf_flower.replies import sift

    replies = [reply(GOOD[0], 1, 3), reply(GOOD[0], 1, 2, "10"), reply(GOOD[0], 1, 4, "9"), reply(GOOD[0], 1, 1)]
    kept, _ = sift(replies, START, "num-examples")
    assert [(r.client, r.node) for r in kept] == [("9", 4), ("10", 2), ("", 1), ("", 3)]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))


def test_phases_are_cumulative_and_take_turns() -> None:
    start = to_arrays({k: torch.zeros_like(v) for k, v in network().state_dict().items()})
    ones = to_arrays({k: torch.ones_like(v) for k, v in network().state_dict().items()})
    made = strategy(layer_order=(network, torch.zeros(1, 2)), phases="layer", rounds_per_phase=2)
    seen: list[bool] = []

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        seen.append(values(arrays)["2.weight"][0][0] == 1.0)
        return MetricRecord({"first": values(arrays)["0.weight"][0][0]})

    made.start(grid(fixed({0: ones, 1: ones}), 2), start, num_rounds=3, evaluate_fn=evaluate)
    assert seen == [False, False, False, True]
    assert [row["phase"] for row in made.rows] == ["0", "0", "2"] and made.rows[0]["server first"] == 1.0


def test_an_order_from_a_file_and_one_of_another_model(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text(layer_order(network(), torch.zeros(1, 2)).to_json())
    made = strategy(layer_order=file, phases="layer")
    made.start(
        grid(fixed({0: to_arrays(network().state_dict())} | {1: GOOD[0]}), 2), to_arrays(network().state_dict()), 1
    )
    with pytest.raises(OrderError, match="of another model than the initial arrays"):
        strategy(layer_order=file).start(grid(fixed(GOOD), 2), START, 1)
    with pytest.raises(OrderError, match="cannot read the layer order"):
        strategy(layer_order=tmp_path / "none.json")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sphere": "big"}, "sphere = 'big': it must be one of clients, previous, none"),
        ({"buffers": "drop"}, "buffers = 'drop'"),
        ({"buffers": "reestimate"}, "needs data"),
        ({"dtype": "int8"}, "dtype = 'int8'"),
        ({"phases": "stage"}, "phases need a layer_order"),
        ({"checkpoint_every": 0}, "checkpoint_every = 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(LLPFError, match=words):
        strategy(**options)


def test_aggregation_needs_a_model_to_go_on_from() -> None:
    with pytest.raises(LLPFError, match="configure_train comes before"):
        LLPFStrategy().aggregate_train(1, [])


def bn_task() -> Task:
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1
    return Task(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)), TensorData(x, (x[:, 0] > 1).long()))


def test_buffers_are_reestimated_on_the_servers_data_and_the_barrier_measured() -> None:
    task = bn_task()
    arrays = to_arrays(task.model.state_dict())
    made = strategy(task=bn_task(), buffers="reestimate")
    made.arrays = arrays
    found, metrics = aggregate(made, reply(arrays, 1, 1), reply(arrays, 1, 2))
    np.testing.assert_allclose(found["0.running_mean"], task.train.inputs.mean(0), rtol=1e-4)  # type: ignore[attr-defined]
    assert metrics["llpf-barrier"] == pytest.approx(0.0, abs=1e-6)


def test_the_barrier_of_opposite_models_is_the_loss_of_a_coin() -> None:
    # The clients are sure and right, each in its own way; the mean of both knows nothing: ln 2.
    x = torch.tensor([[1.0], [-1.0]] * 8)
    task = Task(
        nn.Sequential(nn.Linear(1, 2, bias=False), nn.Tanh(), nn.Linear(2, 2, bias=False)),
        TensorData(x, (x[:, 0] > 0).long()),
    )
    first = {"0.weight": torch.tensor([[4.0], [0.0]]), "2.weight": torch.tensor([[-9.0, 0.0], [9.0, 0.0]])}
    second = {"0.weight": torch.tensor([[-4.0], [0.0]]), "2.weight": torch.tensor([[9.0, 0.0], [-9.0, 0.0]])}
    made = strategy(task=task)
    made.arrays = to_arrays(first)
    _, metrics = aggregate(made, reply(to_arrays(first), 1, 1), reply(to_arrays(second), 1, 2))
    assert metrics["llpf-barrier"] == pytest.approx(np.log(2), abs=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_resumed_run_counts_on_and_ends_with_the_same_bits(tmp_path: Path, momentum: float) -> None:
    def train(message: Message, context: Context) -> dict[str, Any]:
        now, config = message.content["arrays"]["w"].numpy(), message.content["config"]
        step = np.float32(0.1 * (number(context) + 1) * config["server-round"])  # type: ignore[index]
        arrays = ArrayRecord({"w": Array(now + step * np.array([[1, -2, 3]], np.float32))})
        return {"arrays": arrays, "metrics": MetricRecord({"num-examples": number(context) + 1, "loss": float(step)})}

    start = record(w=[[1.0, 2.0, 4.0]])
    whole = LLPFStrategy(server_momentum=momentum, checkpoint_dir=tmp_path / "whole", checkpoint_every=2)
    wanted = whole.start(grid(app(train), 3), start, num_rounds=4)
    assert sorted(p.name for p in (tmp_path / "whole").iterdir()) == [
        "round-00002.safetensors", "round-00004.safetensors", "rounds.png",
    ]  # fmt: skip
    half = LLPFStrategy(server_momentum=momentum, checkpoint_dir=tmp_path / "half")
    half.start(grid(app(train), 3), start, num_rounds=2)
    again = LLPFStrategy(server_momentum=momentum)
    got = again.start(grid(app(train), 3), again.resume(tmp_path / "half"), num_rounds=2)
    assert values(got.arrays) == values(wanted.arrays)
    assert again.rows == whole.rows and again.state_dict()["round"] == 4


def steps_of(*means: float, **options: Any) -> list[list[float]]:
    """The models that rounds end with whose clients come back with these numbers, and their negatives."""
    made, found = strategy(**options), []
    for mean in means:
        arrays, _ = aggregate(made, reply(record(w=[[mean, -mean]]), 1, 1))
        found.append(arrays["w"][0])
    return found


def test_momentum_worked_by_hand() -> None:
    # The first step is not carried on. Then v = 1, 0.5 + 2.5 = 3, 1.5 + 0, on models that go 1 → 2 → 5 → 6.5.
    found = steps_of(1.0, 2.0, 4.5, 5.0, server_momentum=0.5, sphere="none")
    np.testing.assert_allclose(found, [[1, -1], [2, -2], [5, -5], [6.5, -6.5]])


def test_momentum_stays_on_the_spheres_and_leaves_buffers_alone() -> None:
    made = strategy(server_momentum=0.5, sphere="clients")
    made.arrays = record(w=[[0.0, 0.0]], running_mean=[0.0])
    ends = [[1.0, -1.0], [2.0, 1.0], [3.0, -5.0]]
    for mean in ends:
        found, _ = aggregate(made, reply(record(w=[mean], running_mean=mean[:1]), 1, 1))
    # Third: (2, 1) + 0.5·(1, 2) + (1, −6) = (3.5, −4), its deviation 3.75 brought to the mean's, which is 4.
    np.testing.assert_allclose(found["w"], [[3.75, -4.25]], rtol=1e-6)
    assert found["running_mean"] == [3.0]


def test_no_momentum_is_the_mean_bit_by_bit() -> None:
    assert steps_of(0.1, 0.7, 0.3) == steps_of(0.1, 0.7, 0.3, server_momentum=0.0)
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(LLPFError, match="server_momentum"):
            LLPFStrategy(server_momentum=wrong)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.ones(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(CheckpointError, match="no checkpoint of a strategy"):
        LLPFStrategy().resume(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        LLPFStrategy().resume(tmp_path / "text.safetensors")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        LLPFStrategy().resume(tmp_path)
    with pytest.raises(MismatchError, match="no state of a strategy"):
        LLPFStrategy().load_state_dict({"round": 3})
    checkpoint.save(LLPFStrategy().state_dict(), tmp_path / "round-00000.safetensors")
    with pytest.raises(MismatchError, match="holds no model"):
        LLPFStrategy().resume(tmp_path)


def test_the_table_shows_rounds_and_who_was_left_out() -> None:
    text = table(
        [{"round": 1, "clients": 2, "left_out": {7: "late"}, "loss": 0.25}, {"round": 2, "clients": 3, "acc": 1.0}]
    )
    assert text.splitlines() == [
        "| clients | round | loss | acc |",
        "| ---: | ---: | ---: | ---: |",
        "| 2 (−1) | 1 | 0.25 |  |",
        "| 3 | 2 |  | 1 |",
    ]


def test_configs_carry_the_round_that_counts_from_the_first_run() -> None:
    seen: list[int] = []

    def train(message: Message, context: Context) -> dict[str, Any]:
        seen.append(message.content["config"]["server-round"])  # type: ignore[arg-type, index]
        return {"arrays": GOOD[0], "metrics": MetricRecord({"num-examples": 1})}

    strategy(first_round=5).start(grid(app(train), 2), START, num_rounds=2, train_config=ConfigRecord({"lr": 0.1}))
    assert sorted(seen) == [6, 6, 7, 7]
    assert flower_apps.state(GOOD[0])["w"].tolist() == [[1.0, -1.0]]
