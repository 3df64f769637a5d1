"""``quality.json``: read as it was written, whatever of it was edited."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny

from llpf_plugin import LLPF, merge
from llpf_plugin.errors import RunError
from llpf_plugin.runs import read_verdict


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A merge of two models, in a folder."""
    out = tmp_path_factory.mktemp("runs") / "merge"
    merge(
        tiny.pair("mlp"), tiny.mlp(), LLPF(phases="all"), max_loss=0.3, points=1, out=out,
        named={"task": "tiny.py:mlp", "task_arguments": {"width": 3}},
    )  # fmt: skip
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "merge"))


def change(place: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(place.read_text())
    edit(document)
    place.write_text(json.dumps(document))


def test_the_verdict_is_read_as_it_was_written(run: Path) -> None:
    document, verdict = json.loads((run / "quality.json").read_text()), read_verdict(run)
    assert verdict.connected is document["connected"] is True and verdict.sample is None
    assert verdict.maximum == document["metrics"]["train"]["dense_maximum"]["value"] > 0
    assert verdict.integral == document["metrics"]["train"]["integral"]["value"] <= verdict.maximum
    merged = verdict.merged
    assert merged is not None and merged.file == "merged.safetensors" and (run / merged.file).is_file()
    assert merged.judged_on == "test" and merged.scores["test"].accuracy > 0.9  # type: ignore[union-attr]
    assert {"points", "criteria", "ends", "goal"} <= set(document)


def test_what_is_not_finite_is_null_in_the_file_and_infinite_when_read(run: Path) -> None:
    change(run / "quality.json", lambda d: d["metrics"]["train"]["dense_maximum"].update(value=None))
    change(run / "quality.json", lambda d: d["merged"]["scores"]["train"].update(loss=None))
    verdict = read_verdict(run)
    assert verdict.maximum == torch.inf and verdict.merged.scores["train"].loss == torch.inf  # type: ignore[union-attr]


def test_a_verdict_without_a_merged_model_or_scores(run: Path) -> None:
    change(run / "quality.json", lambda d: d["merged"].update(scores={"train": None, "validation": None}))
    merged = read_verdict(run).merged
    assert merged is not None and merged.judged_on == "train" and merged.scores["train"] is None
    change(run / "quality.json", lambda d: d.pop("merged"))
    assert read_verdict(run).merged is None


@pytest.mark.parametrize(
    "edit", [lambda d: d.pop("connected"), lambda d: d.update(metrics=3), lambda d: d["merged"].pop("t")]
)
def test_a_verdict_that_was_edited_beyond_reading(run: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    change(run / "quality.json", edit)
    with pytest.raises(RunError, match=r"quality\.json cannot be read \(.*\): it was edited or damaged"):
        read_verdict(run)
