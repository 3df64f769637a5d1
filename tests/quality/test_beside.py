"""The merged model beside A and B, by hand."""

import math

import pytest
from helpers.planes import data, plane, straight, with_answers

from llpf_plugin import measure
from llpf_plugin.evaluation import Score
from llpf_plugin.quality import OriginQuality, Quality, beside_ends
from llpf_plugin.quality.beside import rank


def of(sight: float, splits: tuple[str, ...] = ("validation", "test"), **options: object) -> Quality:
    """From w₀ = 2 to −1; all data ask for w₀ = ``sight``."""
    given = {split: data((1, 0, sight)) if split in splits else None for split in ("validation", "test")}
    return measure(straight((2, 0), (-1, 0)), plane(train=data((1, 0, sight)), **options, **given), points=2)


@pytest.mark.parametrize(
    ("sight", "place", "numbers"),
    [
        (0.5, "better than both A and B", "loss 0; A loss 2.25; B loss 2.25"),
        (5.0, "between A and B", "loss 20.25; A loss 9; B loss 36"),
    ],
)
def test_better_or_between_with_the_numbers(sight: float, place: str, numbers: str) -> None:
    quality = of(sight)
    sentence = beside_ends(quality, quality.pick("mid"))
    assert sentence == (
        f"the merged model is {place} on validation data ({numbers}), and {place} on test data ({numbers})"
    )


def test_worse_than_both() -> None:
    """The hill between two roots: both ends have 0."""
    task = plane(lambda model, batch: 4 - (model(batch[0]) ** 2).mean(), test=None)
    quality = measure(straight((2, 0), (-2, 0)), task, points=2)
    assert beside_ends(quality, quality.pick("mid")) == (
        "the merged model is worse than both A and B on validation data (loss 4; A loss 0; B loss 0)"
    )


def test_accuracy_comes_before_the_loss() -> None:
    """At 2 the only answer that is right, though the loss is the highest there."""
    quality = of(0.0, ("test",), objective=with_answers)
    sentence = beside_ends(quality, quality.pick(0.0))
    assert "between A and B on test data (100.00%, loss 4; A 100.00%, loss 4; B 0.00%, loss 1)" in sentence
    assert "worse than both" not in beside_ends(quality, quality.pick("mid"))  # as wrong as B, at a lower loss


def test_training_data_speak_where_there_are_no_others() -> None:
    quality = of(0.5, ())
    assert beside_ends(quality, quality.pick("mid")).endswith("on training data (loss 0; A loss 2.25; B loss 2.25)")


def test_a_path_towards_the_origin_has_no_second_model() -> None:
    quality = OriginQuality.of(of(0.5))
    assert beside_ends(quality, quality.pick("mid")) == ""


def test_not_a_number_comes_last() -> None:
    assert rank(Score(9.0, None)) < rank(Score(math.nan, None)) == rank(None)
