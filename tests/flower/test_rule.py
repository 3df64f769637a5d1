"""Arrays and what a rule makes of them: odd ones pass through unharmed, dtypes and order stay."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from helpers.flower_apps import (
    QUIET,
    aggregate,
    app,
    echo,
    fixed,
    grid,
    record,
    reply,
    strategy,
    through,
    values,
)
from torch import nn

from llpf_flower import LLPFStrategy, to_arrays
from llpf_flower.rule import Rule
from llpf_plugin.order import layer_order


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


def test_the_largest_finite_numbers_are_no_infinity() -> None:
    most = np.finfo(np.float32).max
    found, _ = aggregate(strategy(), reply(record(w=[[most, most]]), 1, 1))
    assert found == {"w": [[float(most), float(most)]]}


def test_a_model_that_is_no_mean_takes_the_order_and_the_dtypes_of_the_one_before() -> None:
    previous = record(b=[[1.0, 2.0]], a=[[1.0]], n=np.array(3, np.int64))
    model = record(a=np.array([[2.0]]), n=np.array(4.6), b=np.array([[3.0, 4.0]]))
    found = Rule().conform(model, previous)
    assert {k: a.dtype for k, a in found.items()} == {"b": "float32", "a": "float32", "n": "int64"}
    assert list(found) == ["b", "a", "n"] and values(found) == {"b": [[3.0, 4.0]], "a": [[2.0]], "n": 5}
    assert {a.dtype for k, a in Rule(dtype="float16").conform(model, previous).items() if k != "n"} == {"float16"}
