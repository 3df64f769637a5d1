"""Metrics as clients send them: odd ones end no run, and none overwrites ours."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from helpers.flower_apps import GOOD, QUIET, aggregate, app, echo, grid, number, record, reply, strategy

from llpf_flower import LLPFStrategy


def test_metrics_and_consensus_worked_by_hand() -> None:
    # Weights 1 and 3: the mean is (2.5, -2.5), of norm 12.5^.5; distances² 4.5 and 0.5, their mean 1.5.
    found, metrics = aggregate(strategy(), reply(GOOD[0], 1, 1, loss=1.0), reply(GOOD[1], 3, 2, loss=2.0))
    assert found == {"w": [[2.5, -2.5]]}
    assert metrics["loss"] == 1.75 and metrics["llpf-consensus"] == pytest.approx((1.5 / 12.5) ** 0.5)


def test_metrics_that_only_some_clients_send_do_not_end_the_run() -> None:
    found, metrics = aggregate(strategy(), reply(GOOD[0], 1, 1, loss=1.0, more=2.0), reply(GOOD[1], 1, 2, loss=3.0))
    assert found is not None and metrics["loss"] == 2.0 and "more" not in metrics


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


def test_an_aggregator_that_only_sometimes_has_something_to_say_ends_no_run(tmp_path: Path) -> None:
    rounds: list[int] = []

    def every_other(contents: list[RecordDict], weighted_by: str) -> MetricRecord | None:
        rounds.append(len(contents))
        return MetricRecord({"acc": 0.5}) if len(rounds) % 2 == 0 else None

    made = LLPFStrategy(
        train_metrics_aggr_fn=lambda contents, by: None, evaluate_metrics_aggr_fn=every_other, checkpoint_dir=tmp_path
    )
    result = made.start(grid(app(echo), 3), record(w=[[1.0, 2.0]]), 2)
    assert rounds == [3, 3] and list(result.evaluate_metrics_clientapp) == [2]
    assert [row.get("client acc") for row in made.rows] == [None, 0.5]
    assert result.train_metrics_clientapp[1]["llpf-clients"] == 3


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
