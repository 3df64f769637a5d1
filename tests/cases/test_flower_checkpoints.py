"""Checkpoints of a strategy: folders that cannot be used, long runs, noise that is added afterwards."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping
from helpers.flower_apps import QUIET, START, app, echo, fixed, grid, record, values

from llpf_flower import LLPFStrategy
from llpf_plugin import LLPFError


def test_a_folder_that_cannot_be_made_is_refused_before_any_round(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trained: list[int] = []

    def train(message: Message, context: Context) -> dict[str, object]:
        trained.append(message.content["config"]["server-round"])
        return echo(message, context)

    with pytest.raises(LLPFError, match="file"):
        made = LLPFStrategy(checkpoint_dir=tmp_path / "file" / "below", checkpoint_every=5)
        made.start(grid(app(train), 2), START, 10)
    assert trained == []


def test_checkpoints_do_not_grow_with_the_rounds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = record(**{f"layer{i}.weight": rng.normal(size=(2, 2)).astype(np.float32) for i in range(40)})
    made = LLPFStrategy(**QUIET, checkpoint_dir=tmp_path, checkpoint_every=20)
    made.start(grid(app(echo), 2), layers, 60)
    sizes = [(tmp_path / f"round-{r:05d}.safetensors").stat().st_size for r in (20, 60)]
    again = LLPFStrategy(**QUIET)
    assert values(again.resume(tmp_path)) == values(layers) and again.rows == made.rows
    assert sizes[1] < 1.5 * sizes[0]


def test_a_checkpoint_is_the_model_that_a_wrapper_with_noise_serves(tmp_path: Path) -> None:
    arrays: ArrayRecord = record(w=np.ones((20, 20), np.float32))
    inner = LLPFStrategy(checkpoint_dir=tmp_path)
    wrapped = DifferentialPrivacyServerSideFixedClipping(inner, 1.0, 1.0, 2)
    trained = record(w=np.full((20, 20), 2.0, np.float32))
    result = wrapped.start(grid(fixed({0: trained, 1: trained}), 2), arrays, 1)
    assert values(LLPFStrategy().resume(tmp_path)) == values(result.arrays)
