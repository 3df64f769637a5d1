import torch
from helpers.classes import classes, matrix
from helpers.planes import corner, plane
from torch import nn

from llpf_plugin import Path, Task, measure
from llpf_plugin.quality import diversity


def test_diversity() -> None:
    """A scores by (x₀, x₁), B by −2 times that, so the middle by −½ times that; right answers are 0, 1, 0, 1.

    A answers 0, 1, 0 (a tie), 0; the middle and B 1, 0, 0 (a tie), 1. In an ensemble the larger factor wins:
    the middle's ½ against A's 1, B's 2 against A's 1; over all three, the first input has 0.731 + 0.378 + 0.119 < 1.5.
    """
    a, b = matrix((1, 0), (0, 1)), matrix((-2, 0), (0, -2))
    quality = measure(Path([a, b], a, b), classes(), points=1)
    found = diversity(quality, "validation", points=3)
    assert found.t.tolist() == [0, 0.5, 1]
    assert found.error.tolist() == [0.25, 0.5, 0.5]
    assert found.disagreement_a.tolist() == [0, 0.75, 0.75]
    assert found.disagreement_b.tolist() == [0.75, 0, 0]
    assert found.pair_error.tolist() == [0.25, 0.25, 0.5]
    assert found.ends_error == 0.5 and found.path_error == 0.5


def test_diversity_needs_classes() -> None:
    quality = measure(corner(), plane(), points=1)
    assert "integer class targets" in diversity(quality, "train").why
    assert "no test data" in diversity(measure(corner(), plane(test=None), points=1), "test").why
    scores = Task(nn.Linear(2, 1), classes().train, objective=lambda m, b: m(b[0]).square().mean())
    path = Path([w := {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, w], w, w)
    assert "(4, 1)" in diversity(measure(path, scores, points=1), "train").why
