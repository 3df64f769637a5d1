"""Inside another strategy, which calls everything but `start` and may change what is served."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord
from flwr.serverapp.strategy import DifferentialPrivacyServerSideAdaptiveClipping as Adaptive
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping as Fixed
from helpers.flower_apps import QUIET, START, app, fixed, grid, number, record, state, values
from torch import nn

from llpf_flower import LLPFStrategy, checkpoint, to_arrays, to_weights
from llpf_plugin.errors import OrderError, RunError
from llpf_plugin.order import layer_order

ONES = record(w=np.ones((8, 8), np.float32))


def step(message: Message, context: Context) -> dict[str, Any]:
    """The records of a client whose model moves: Flower's clipping divides by the length of the step."""
    arrays = to_arrays({k: t + 1 + number(context) for k, t in state(message.content["arrays"]).items()})
    return {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}


NODES = {i: record(w=np.full((8, 8), 2.0 + i, np.float32)) for i in range(2)}


@pytest.mark.parametrize(
    "wrap", [lambda inner: Fixed(inner, 0.5, 5.0, 2), lambda inner: Adaptive(inner, 0.5, 2, clipped_count_stddev=2.0)]
)
def test_what_is_saved_is_what_was_served_and_tells_no_more(tmp_path: Path, wrap: Any) -> None:
    inner = LLPFStrategy(sphere="none", server_momentum=0.5, checkpoint_dir=tmp_path)
    result = wrap(inner).start(grid(fixed(NODES), 2), ONES, 4)
    states = [checkpoint.load(tmp_path / f"round-{i:05d}.safetensors")["models"] for i in range(1, 5)]
    assert torch.equal(states[-1]["arrays"]["w"], to_weights(result.arrays)["w"])
    assert not states[0]["velocity"]["w"].any()
    for before, now in pairwise(states):
        moved = now["arrays"]["w"] - before["arrays"]["w"]  # with its noise: the velocity would give the rest away
        torch.testing.assert_close(now["velocity"]["w"], moved, rtol=1e-4, atol=1e-5)


def test_a_private_run_continues_from_what_was_served(tmp_path: Path) -> None:
    seen: list[Any] = []

    def train(message: Message, context: Context) -> dict[str, Any]:
        seen.append(values(message.content["arrays"]))
        return step(message, context)

    inner = LLPFStrategy(checkpoint_dir=tmp_path)
    served = Fixed(inner, 1.0, 1.0, 2).start(grid(app(train), 2), ONES, 2).arrays
    again = LLPFStrategy()
    Fixed(again, 1.0, 1.0, 2).start(grid(app(train), 2), again.resume(tmp_path), 1)
    assert seen[-1] == values(served) and [row["round"] for row in again.rows] == [1, 2, 3]


def test_a_second_run_forgets_the_rows_of_the_first() -> None:
    inner = LLPFStrategy(**QUIET)
    for _ in range(2):
        Fixed(inner, 1.0, 1.0, 2).start(grid(app(step), 2), START, 3)
        assert [row["round"] for row in inner.rows] == [1, 2, 3]


def test_the_user_is_told_where_the_table_is(caplog: pytest.LogCaptureFixture) -> None:
    LLPFStrategy(**QUIET).start(grid(app(step), 2), START, 1)
    assert "report()" not in caplog.text
    Fixed(LLPFStrategy(**QUIET), 1.0, 1.0, 2).start(grid(app(step), 2), START, 2)
    assert caplog.text.count("call its report()") == 1


def test_the_order_and_the_folder_are_checked_before_any_round(tmp_path: Path) -> None:
    trained: list[int] = []

    def train(message: Message, context: Context) -> dict[str, Any]:
        trained.append(1)
        return step(message, context)

    other = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    (tmp_path / "file").write_text("")
    wrong: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"layer_order": layer_order(other, torch.zeros(1, 1)), "phases": "layer"}, OrderError),
        ({"checkpoint_dir": tmp_path / "file" / "below"}, RunError),
    ]
    for options, error in wrong:
        with pytest.raises(error):
            Fixed(LLPFStrategy(**options), 1.0, 1.0, 2).start(grid(app(train), 2), START, 1)
    assert trained == []


def test_a_round_that_the_wrapper_gave_up_leaves_the_last_row_alone() -> None:
    """The privacy wrappers aggregate nothing where one reply is an error; the evaluation goes on."""

    def train(message: Message, context: Context) -> dict[str, Any]:
        if message.content["config"]["server-round"] == 2:  # type: ignore[index]
            raise RuntimeError("on purpose")
        return step(message, context)

    inner = LLPFStrategy()
    wrapped = Fixed(inner, 1.0, 1.0, 2)
    result = wrapped.start(grid(app(train), 2), START, 2)
    assert [row["round"] for row in inner.rows] == [1] and result.evaluate_metrics_clientapp[2]["x"] == 1.0
    arrays: ArrayRecord | None = inner.arrays
    assert arrays is not None and values(arrays) == values(result.arrays)
