"""Which replies count, in which order, and why the others do not."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import re
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from helpers.flower_apps import (
    GOOD,
    QUIET,
    START,
    Reply,
    SuperLinkAnswers,
    aggregate,
    app,
    echo,
    fixed,
    grid,
    number,
    record,
    reply,
    strategy,
    values,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llpf_flower import LLPFStrategy, to_arrays
from llpf_flower.asked import Asked
from llpf_flower.replies import sift
from llpf_plugin import Task, TensorData
from llpf_plugin.errors import RunError

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
    assert (metrics["llpf-clients"], metrics["llpf-left-out"], list(made.rows[-1]["left_out"])) == (2, 1, [9])
    assert re.search(reason, made.rows[-1]["left_out"][9])
    assert made.rows[-1]["left_out"][9] in caplog.text and "Node 9" in caplog.text


def test_if_none_is_left_the_old_model_stays() -> None:
    made = strategy()
    found, metrics = aggregate(made, BAD["holds NaN"])
    assert found is None and metrics["llpf-clients"] == 0 and values(made.arrays) == values(START)


def test_a_run_in_which_no_reply_counts_says_so_at_its_end() -> None:
    made = strategy()
    nodes = grid(fixed({0: record(w=[[np.nan, 1.0]]), 1: GOOD[0]}, {1: 0}), 2)
    with pytest.raises(RunError, match=r"no reply counted in any of 2 rounds.*trained on 0 examples \(node 1002\)"):
        made.start(nodes, START, num_rounds=2)
    assert values(made.arrays) == values(START) and [len(row["left_out"]) for row in made.rows] == [2, 2]


def test_a_run_in_which_one_reply_counts_ends_well() -> None:
    def train(message: Message, context: Context) -> dict[str, Any]:
        if message.content["config"]["server-round"] != 2 or number(context):  # type: ignore[index]
            raise RuntimeError("no data today")
        return {"arrays": GOOD[0], "metrics": MetricRecord({"num-examples": 1})}

    assert values(strategy().start(grid(app(train), 2), START, 3).arrays) == values(GOOD[0])


def test_a_run_that_only_evaluates_keeps_its_model() -> None:
    made = LLPFStrategy(fraction_train=0.0)
    assert values(made.start(grid(app(echo), 2), START, 1).arrays) == values(START)
    assert made.rows[0]["client x"] == 1.0


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
    assert result.train_metrics_clientapp[1]["llpf-left-out"] == len(reasons) == 2


def test_a_client_whose_model_is_bfloat16_is_named_and_to_arrays_is_the_remedy() -> None:
    weights = {"w": torch.tensor([[1.0, -1.0]], dtype=torch.bfloat16)}

    def train(message: Message, context: Context) -> dict[str, Any]:
        arrays = ArrayRecord(weights) if number(context) == 0 else to_arrays(weights)
        return {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}

    made = strategy()
    result = made.start(grid(app(train), 2), START, num_rounds=1)
    assert "BFloat16" in made.rows[0]["left_out"][1001]
    assert values(result.arrays) == {"w": [[1.0, -1.0]]}


HEADED = ArrayRecord({**START, "head.weight": Array(np.zeros((2, 2), np.float32))})


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_clients_that_keep_a_part_for_themselves_are_averaged_as_by_fedavg(momentum: float) -> None:
    theirs = FedAvg(**QUIET).start(grid(fixed(GOOD, {0: 1, 1: 3}), 2), HEADED, 1)
    made = strategy(server_momentum=momentum)
    ours = made.start(grid(fixed(GOOD, {0: 1, 1: 3}), 2), HEADED, 2)
    assert values(ours.arrays) == values(theirs.arrays) == {"w": [[2.5, -2.5]]}
    assert [row["clients"] for row in made.rows] == [2, 2]


def test_each_tensor_is_the_mean_of_those_that_send_it() -> None:
    headed = record(w=[[5.0, 1.0]], **{"head.weight": [[1.0, 2.0], [3.0, 4.0]]})
    made = strategy()
    made.arrays = HEADED
    found, _ = aggregate(made, reply(headed, 1, 1), reply(GOOD[0], 3, 2))
    assert found == {"w": [[2.0, -0.5]], "head.weight": [[1.0, 2.0], [3.0, 4.0]]}


def test_a_tensor_that_nobody_sent_for_some_rounds_may_come_back(tmp_path: Path) -> None:
    made = strategy(checkpoint_dir=tmp_path)
    made.start(grid(fixed(GOOD), 2), HEADED, 1)
    again = strategy()
    headed = record(**{"head.weight": [[1.0, 2.0], [3.0, 4.0]], "w": [[5.0, 1.0]]})
    result = again.start(grid(fixed({0: headed, 1: GOOD[0]}), 2), again.resume(tmp_path), 1)
    assert values(result.arrays) == {"w": [[3.0, 0.0]], "head.weight": [[1.0, 2.0], [3.0, 4.0]]}


def test_a_server_with_a_task_of_its_own_needs_whole_models() -> None:
    net = nn.Linear(2, 2)
    task = Task(net, TensorData(torch.randn(8, 2), torch.arange(8) % 2))
    whole = to_arrays(net.state_dict())
    part = ArrayRecord({"weight": whole["weight"]})
    made = LLPFStrategy(**QUIET, task=task)
    result = made.start(grid(fixed({0: part, 1: whole}), 2), whole, 1)
    assert made.rows[0]["left_out"] == {1001: "its model lacks bias"} and list(result.arrays) == ["weight", "bias"]


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


@settings(max_examples=40)
@given(st.permutations(range(6)), st.booleans())
def test_law_node_ids_change_no_bit(nodes: list[int], named: bool) -> None:
    """Also where the clients call themselves by these, as the mod does without a partition id."""
    rng = np.random.default_rng(2)
    models = [record(frozen=np.ones(3, np.float32), w=rng.normal(size=(3, 5)).astype(np.float32)) for _ in nodes]
    found = []
    for ids in (range(6), nodes):
        made = strategy(sphere="clients")
        made.arrays = record(frozen=np.ones(3, np.float32), w=np.zeros((3, 5), np.float32))
        sent = [reply(models[i], 1, node, f"{node}" if named else "", loss=i / 7) for i, node in enumerate(ids)]
        found.append((aggregate(made, *sent), made.aggregate_evaluate(1, sent)))
    assert found[0] == found[1]


@pytest.mark.parametrize("known", [True, False])
def test_a_failure_counts_for_the_node_whose_message_it_answers(known: bool) -> None:
    sent = [reply(START, node=0) for _ in range(3)]
    for i, message in enumerate(sent):
        message.metadata.__dict__.update(message_id=f"m{i}", dst_node_id=50 + i)
    answers = [Reply(None, 1, Error(code=2, reason="gone")) for _ in range(2)]
    for answer, name in zip(answers, ["m2", "m0"] if known else ["m2", "expired"], strict=True):
        answer.metadata.__dict__["reply_to_message_id"] = name
    kept, left_out = sift([*answers, reply(GOOD[0], 1, 51)], START, "num-examples", Asked(sent))
    assert [r.node for r in kept] == [51]
    # An answer to nothing that was asked stays where it came from, and its node is late.
    late = {} if known else {1: "it failed: gone", 50: "it did not answer in time"}
    assert left_out == {50: "it failed: gone", 52: "it failed: gone", **late}


def test_a_node_that_dies_before_the_evaluation_is_named_itself(caplog: pytest.LogCaptureFixture) -> None:
    def evaluate(message: Message, context: Context) -> dict[str, Any]:
        if number(context) == 1:
            raise RuntimeError("gone")
        return {"metrics": MetricRecord({"num-examples": 1, "x": 1.0})}

    LLPFStrategy().start(SuperLinkAnswers(app(echo, evaluate), 3), START, 1)
    assert "Node 1002 is left out of this evaluation" in caplog.text and "Node 1 " not in caplog.text


def test_clients_without_an_id_are_ordered_by_node_after_those_with_one() -> None:

    replies = [reply(GOOD[0], 1, 3), reply(GOOD[0], 1, 2, "10"), reply(GOOD[0], 1, 4, "9"), reply(GOOD[0], 1, 1)]
    kept, _ = sift(replies, START, "num-examples")
    assert [(r.client, r.node) for r in kept] == [("9", 4), ("10", 2), ("", 1), ("", 3)]


def test_the_order_of_evaluation_replies_changes_no_bit() -> None:
    sent = [reply(record(w=[1.0]), 1, node, x=x) for node, x in enumerate([0.1, 0.2, 0.3, 0.7])]
    found = {LLPFStrategy().aggregate_evaluate(1, order)["x"] for order in permutations(sent)}  # type: ignore[index]
    assert len(found) == 1
