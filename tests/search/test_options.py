"""What a user asks of a search, whatever the method."""

import json
import math
from typing import Any

import pytest
from helpers.searches import found

from llpf_plugin import LLPFError
from llpf_plugin.search import SearchOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_loss": 0.0}, "max_loss = 0.0: it must be above 0"),
        ({"max_loss": math.nan}, "max_loss = nan"),
        ({"tolerance": -0.1}, "tolerance = -0.1"),
        ({"budget": 0}, "budget = 0"),
        ({"lr": math.nan}, "lr = nan"),
        ({"lr": 0.0}, "lr = 0.0"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"points": 0}, "points = 0"),
        ({"sample": 0}, "sample = 0"),
        ({"max_loss": 1.0, "tolerance": 1.0}, "max_loss and tolerance are two ways to state the goal: give one"),
        ({"momentum": 1.0}, "momentum = 1.0: it must be at least 0 and below 1"),
        ({"momentum": -0.5}, "momentum = -0.5"),
        ({"momentum": math.nan}, "momentum = nan"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LLPFError, match=message):
        SearchOptions(**options)
    with pytest.raises(LLPFError, match=message):
        found("mlp", **options)


def test_options_survive_json() -> None:
    options = SearchOptions(max_loss=0.1, batch_size=7, seed=3)
    assert SearchOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    assert SearchOptions.from_json({"seed": 3, "of_another_version": 1}) == SearchOptions(seed=3)


def test_options_are_what_the_search_does() -> None:
    path = found("mlp", lr=0.07, momentum=0.0, batch_size=16, points=3, budget=50)
    assert {tick.lr for tick in path.record if tick.lr > 0.069} == {0.07}
    assert len(path.quality.rows) == 3 * (len(path.knots) - 1) + 1
    assert path.cost.gradient_steps <= 50


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="phases"):
        found("mlp", phases="all")
