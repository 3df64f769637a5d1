"""`LLPFStrategy` over an in-process Grid."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord
from helpers.flower_apps import GOOD, START, app, echo, fixed, grid, record, strategy

from llpf_flower import LLPFStrategy
from llpf_plugin.errors import LLPFError


def test_it_runs_as_fedavg_does_and_its_mean_is_on_the_sphere() -> None:
    made = LLPFStrategy()
    result = made.start(grid(fixed(GOOD, {0: 1, 1: 1}), 2), START, num_rounds=2)
    np.testing.assert_allclose(result.arrays["w"].numpy(), [[5**0.5, -(5**0.5)]], rtol=1e-6)
    metrics = result.train_metrics_clientapp[2]
    assert (metrics["loss"], metrics["llpf-clients"], metrics["llpf-left-out"]) == (0.5, 2, 0)
    assert metrics["llpf-variance/w"] == pytest.approx(0.8) and metrics["llpf-variance-kept"] == pytest.approx(0.8)
    assert result.evaluate_metrics_clientapp[2]["x"] == 1.0
    assert [row["round"] for row in made.rows] == [1, 2] and "client x" in made.table()


def test_configs_carry_the_round_that_counts_from_the_first_run() -> None:
    seen: list[int] = []

    def train(message: Message, context: Context) -> dict[str, Any]:
        seen.append(message.content["config"]["server-round"])  # type: ignore[arg-type, index]
        return {"arrays": GOOD[0], "metrics": MetricRecord({"num-examples": 1})}

    strategy(first_round=5).start(grid(app(train), 2), START, num_rounds=2, train_config=ConfigRecord({"lr": 0.1}))
    assert sorted(seen) == [6, 6, 7, 7]


def test_the_callers_configs_stay_as_they_were() -> None:
    own, other = ConfigRecord({"lr": 0.1}), ConfigRecord({"lr": 0.1})
    LLPFStrategy(serve_own=True).start(
        grid(app(echo), 2), record(w=[[1.0, 2.0]]), 1, train_config=own, evaluate_config=other
    )
    assert not any(key.startswith("llpf") for key in (*own, *other))


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
