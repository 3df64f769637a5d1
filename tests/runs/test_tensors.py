"""Tensors and state of a run carry a digest, and are not read where they are not what was written."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import tiny
from safetensors.torch import load_file, save_file

from llpf_plugin.errors import RunError
from llpf_plugin.runs.tensors import checked_state, read_tensors, write_state, write_tensors

WEIGHTS = {"b": torch.zeros(3, dtype=torch.bfloat16), "a": torch.arange(600.0).view(20, 30), "n": torch.tensor(7)}
CHANGED = r"000001\.safetensors is not what the run wrote: it was edited or damaged; put back a copy"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "000001.safetensors", WEIGHTS)
    return tmp_path / "000001.safetensors"


def test_what_was_written_is_read(place: Path, tmp_path: Path) -> None:
    assert tiny.same(read_tensors(place, strict=True), WEIGHTS) and tiny.same(load_file(place), WEIGHTS)
    before = place.read_bytes()
    write_tensors(place, WEIGHTS)
    assert place.read_bytes() == before
    write_tensors(tmp_path / "none.safetensors", {})
    assert read_tensors(tmp_path / "none.safetensors", strict=True) == {}


@pytest.mark.parametrize("where", [-1, -200, -2000])
def test_one_bit_that_changed_is_noticed(place: Path, where: int) -> None:
    content = bytearray(place.read_bytes())
    content[where] ^= 1
    place.write_bytes(content)
    with pytest.raises(RunError, match=CHANGED):
        read_tensors(place)


def test_a_file_in_the_place_of_another_is_noticed(place: Path) -> None:
    write_tensors(place.with_name("000002.safetensors"), {"a": torch.ones(2)})
    shutil.copy(place.with_name("000002.safetensors"), place)
    with pytest.raises(RunError, match=CHANGED):
        read_tensors(place)


def test_a_file_without_a_digest_is_read_only_where_there_may_be_such(place: Path) -> None:
    save_file(WEIGHTS, place)
    assert tiny.same(read_tensors(place), WEIGHTS)
    with pytest.raises(RunError, match=CHANGED):
        read_tensors(place, strict=True)


def test_a_state_that_was_edited_is_noticed_however_it_is_laid_out(tmp_path: Path) -> None:
    state = {"progress": {"steps": 3, "loss": 0.1, "none": None, "bad": float("inf")}, "tensors": "state-1.safetensors"}
    place = tmp_path / "state.json"
    write_state(place, state)
    document = json.loads(place.read_text())
    assert checked_state(place, json.loads(json.dumps(document, sort_keys=True)), strict=True) == state
    document["progress"]["steps"] = 4
    for strict in (False, True):
        with pytest.raises(RunError, match=r"state\.json is not what the run wrote"):
            checked_state(place, document, strict)
    document.pop("digest")
    assert checked_state(place, document)["progress"]["steps"] == 4
    with pytest.raises(RunError, match=r"state\.json is not what the run wrote"):
        checked_state(place, document, strict=True)
