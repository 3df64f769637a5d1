"""Files of a federation that were edited: one sentence, whatever is in them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import torch
from flwr.app import Context, RecordDict
from helpers.flower_apps import QUIET, START, app, echo, grid
from safetensors import safe_open
from safetensors.torch import save_file

from llpf_flower import LLPFStrategy
from llpf_flower.state import Store
from llpf_plugin import LLPFError


def edit(place: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the document in the head of a file."""
    with safe_open(place, "pt") as file:
        ((key, text),) = (file.metadata() or {}).items()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    document = json.loads(text)
    change(document)
    save_file(tensors, place, metadata={key: json.dumps(document)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    LLPFStrategy(**QUIET, server_momentum=0.5, checkpoint_dir=tmp_path).start(grid(app(echo), 2), START, 2)
    return tmp_path


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no number of a round": (lambda d: d.update(round="x"), "round: "),
    "no possible round": (lambda d: d.update(round=-4), "no run comes to round"),
    "rows that are none": (lambda d: d.update(rows=[3]), "rows"),
    "a row without a round": (lambda d: d["rows"][0].pop("round"), "round"),
    "names that are none": (lambda d: d.update(names={"arrays": 3}), "names"),
    "a tensor that is not there": (lambda d: d["names"]["arrays"].append("gone"), "lacks what it names"),
    "no journal": (lambda d: d.update(earlier=[1]), "earlier"),
    "a velocity of another model": (lambda d: d["names"].update(arrays=[]), "velocity"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_checkpoint_is_refused(folder: Path, name: str) -> None:
    change, words = EDITS[name]
    edit(folder / "round-00002.safetensors", change)
    with pytest.raises(LLPFError, match=words) as refused:
        LLPFStrategy(**QUIET).resume(folder)
    assert len(str(refused.value)) < 500


def test_a_pipe_in_the_place_of_a_checkpoint_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "round-00003.safetensors")
    with pytest.raises(LLPFError, match="no regular file"):
        LLPFStrategy(**QUIET).resume(folder)


@pytest.mark.parametrize(
    "change", [lambda d: d.pop("run"), lambda d: d.update(notes=3), lambda d: d.update(former="x")]
)
def test_an_edited_model_of_a_client_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    context = Context(1, 7, {"partition-id": 0, "state-dir": str(tmp_path)}, RecordDict(), {})
    Store(context).save({"w": torch.zeros(1, 2)}, {})
    edit(Store(context).file, change)
    with pytest.raises(LLPFError, match="not a client's model or is damaged"):
        Store(context).load(START)
