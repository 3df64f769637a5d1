"""How two networks are related, by numbers worked by hand and by networks of known origin."""

import pytest
import torch
from helpers import tiny
from torch import Tensor

from llpf_plugin.preflight import compared, kinship, likeness
from llpf_plugin.preflight.advice import PairCheck, check


def weights(seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {"a.weight": torch.randn(40, 50, generator=rng), "b.weight": torch.randn(30, 40, generator=rng)}


def moved(noise: float, names: tuple[str, ...] = ("a.weight", "b.weight")) -> dict[str, Tensor]:
    other = weights(9)
    return {k: t + (noise * other[k] if k in names else 0) for k, t in weights().items()}


def test_a_row_by_hand() -> None:
    a, b = torch.tensor([[1.0, 3.0]]), torch.tensor([[4.0, 0.0]])
    (row,) = compared({"w": a, "bn.running_mean": a[0], "n": torch.tensor(3)}, {"w": b, "bn.running_mean": b[0]})
    assert (row.variance_a, row.variance_b, row.ratio, row.cosine) == (1.0, 4.0, 4.0, -1.0)
    assert (row.squared_distance, row.squared_norm) == (18.0, 16.0)


def test_likeness_is_weighted_by_size() -> None:
    rows = compared(weights(), {**weights(1), "a.weight": weights()["a.weight"]})
    assert likeness(rows) == pytest.approx(2000 / 3200, abs=0.03)


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (moved(0.0), "the same"),
        (moved(0.005), "nearly the same"),
        (moved(0.3), "of one origin"),
        (moved(3.0), "alike in part"),
        ({**weights(1), "b.weight": weights()["b.weight"]}, "alike in part"),
        (weights(1), "trained apart"),
        ({k: -t for k, t in weights().items()}, "trained apart"),
    ],
)
def test_kinship(other: dict[str, Tensor], word: str) -> None:
    assert kinship(compared(weights(), other)) == word


def test_trained_networks() -> None:
    a, b = tiny.pair("conv")
    assert check(a, b, model=tiny.conv().model).kinship == "trained apart"


@pytest.mark.parametrize(
    ("other", "advice", "sentence"),
    [
        (moved(0.0), "average", "averaging will do: they are the same model"),
        (
            moved(0.3),
            "average",
            "averaging will do: they come from one network, or from one initialisation (likeness 0.9",
        ),
        (moved(3.0), "walk", "walk: they are alike in part (likeness 0.3"),
        (weights(1), "align", "align first: they were trained apart (likeness 0.0"),
        (
            {**weights(1), "c.weight": torch.ones(2)},
            "none",
            "these cannot be merged, because 1 tensors of B are missing",
        ),
        ({"x": torch.ones(2)}, "none", "these cannot be merged, because 2 tensors of A are missing in B"),
        ({k: t * float("nan") for k, t in weights().items()}, "none", "these cannot be merged, because B holds NaN"),
    ],
)
def test_advice(other: dict[str, Tensor], advice: str, sentence: str) -> None:
    found = check(weights(), other)
    assert found.advice == advice and found.sentence.startswith(sentence), found.sentence


@pytest.mark.parametrize(("aligned", "advice"), [(0.05, "walk"), (0.6, "align")])
def test_what_alignment_brought_decides(aligned: float, advice: str) -> None:
    found = PairCheck([], compared(weights(), weights(1)), 0.01, "trained apart", aligned)
    assert found.advice == advice and f"aligned {aligned:.2f}" in found.sentence


def test_models_in_two_dtypes_are_nearly_the_same() -> None:
    found = check(weights(), {k: t.bfloat16() for k, t in weights().items()})
    assert found.kinship == "nearly the same" and "differ in dtype" in found.findings[0].what
