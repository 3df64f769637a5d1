"""Metrics functions of users, as Flower allows them."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from helpers.flower_apps import START, app, echo, grid, values

from llpf_flower import LLPFStrategy


@pytest.mark.parametrize("name", ["train_metrics_aggr_fn", "evaluate_metrics_aggr_fn"])
def test_an_aggregator_may_return_none_as_with_fedavg(name: str) -> None:
    made = LLPFStrategy(**{name: lambda contents, weighted_by: None})
    result = made.start(grid(app(echo), 2), START, 1)
    assert made.rows[0]["clients"] == 2 and values(result.arrays) == values(START)
