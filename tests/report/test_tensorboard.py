"""A run that is watched in TensorBoard."""

import sys
from pathlib import Path

import pytest
from helpers import tiny

from llpf_plugin import LLPF, find_path
from llpf_plugin.errors import LLPFError
from llpf_plugin.report import TensorBoard

events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read(folder: Path) -> object:
    log = events.EventAccumulator(str(folder))
    log.Reload()
    return log


def test_a_run_can_be_watched(tmp_path: Path) -> None:
    path = find_path(
        *tiny.pair("mlp"), tiny.mlp(), LLPF(phases="stage"), max_loss=0.2, callbacks=[TensorBoard(tmp_path / "log")]
    )
    log = read(tmp_path / "log")
    gaps = log.Scalars("search/gap")  # type: ignore[attr-defined]
    assert [e.step for e in gaps] == [tick.gradient_steps for tick in path.record]
    assert [e.value for e in gaps] == pytest.approx([tick.gap for tick in path.record])
    along = log.Scalars("path/train")  # type: ignore[attr-defined]
    assert max(e.value for e in along) == pytest.approx(path.quality.maximum)
    assert len(along) == len(path.quality.rows)
    tags = set(log.Tags()["scalars"])  # type: ignore[attr-defined]
    assert {"search/share", "search/settled_loss", "search/lr", "path/validation_accuracy"} <= tags
    assert not tags & {"search/tick", "search/gradient_steps", "search/stretch"}


def test_without_tensorboard_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(LLPFError, match=r"llpf-plugin\[tensorboard\]"):
        TensorBoard(tmp_path)
