"""Golden numbers of a short run on real data: a refactoring must reproduce them, a release of torch nearly so."""

from pathlib import Path

import pytest

from llpf_plugin import find_path, load_task
from llpf_plugin.dense import linear_losses
from llpf_plugin.gradient import Gradient
from llpf_plugin.training import train

SCHEDULE = """
settle: {threshold: 0.0, min_steps: 4, max_steps: 4, lr: 0.02, momentum: 0.9}
phases:
  - {ticks: 20, step_f: 0.05}
"""


def test_digits_mlp_with_a_fixed_schedule(tmp_path: Path) -> None:
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    a, b = (train(load_task("digits/mlp"), seed, epochs=10) for seed in (1, 2))
    straight = linear_losses(Gradient(load_task("digits/mlp")), a, b, points=10, sample=None)
    path = find_path(a, b, "digits/mlp", pace=str(tmp_path / "schedule.yaml"), repairs=0, max_loss=0.3)
    assert path.cost["gradient_steps"] == 80 and len(path.knots) == 23
    assert max(straight) == pytest.approx(1.8895, rel=0.05)
    assert path.quality.maximum == pytest.approx(0.2060, rel=0.1)
    assert path.quality.mean == pytest.approx(0.1292, rel=0.1)
    assert path.length_ratio == pytest.approx(1.1582, rel=0.01)
