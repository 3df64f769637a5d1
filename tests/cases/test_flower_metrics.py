"""Metrics functions of users, as Flower allows them."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import numpy as np
from helpers.flower_apps import GOOD, START, app, echo, fixed, grid, record, values

from llpf_flower import LLPFStrategy


@pytest.mark.parametrize("name", ["train_metrics_aggr_fn", "evaluate_metrics_aggr_fn"])
def test_an_aggregator_may_return_none_as_with_fedavg(name: str) -> None:
    made = LLPFStrategy(**{name: lambda contents, weighted_by: None})
    result = made.start(grid(app(echo), 2), START, 1)
    assert made.rows[0]["clients"] == 2 and values(result.arrays) == values(START)


def test_train_metrics_are_single_numbers() -> None:
    """A list of nodes among them ended runs that wrote ``{k: float(v)}`` of them."""
    models = {**GOOD, 2: record(w=[[np.nan, 0.0]])}
    result = LLPFStrategy(fraction_evaluate=0.0).start(grid(fixed(models), 3), START, 1)
    numbers = {name: float(value) for name, value in result.train_metrics_clientapp[1].items()}  # type: ignore[arg-type]
    assert numbers["llpf-left-out"] == 1
