"""What cannot be read of a run's folder is named; what can, is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny

from llpf_plugin import find_path
from llpf_plugin.errors import RunError
from llpf_plugin.methods import Outcome
from llpf_plugin.runs import Asked, RunFolder, read_asked, read_path
from llpf_plugin.runs.read import read_document, read_info, read_json
from llpf_plugin.runs.tensors import read_tensors


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of the straight line."""
    folder = RunFolder(tmp_path / "run")
    folder.create(Asked("a", "b", "tiny", method="linear"), {}, {}, {"command": "llpf merge"})
    find_path(*tiny.pair("mlp"), tiny.mlp(), "linear", knots=folder.knots, callbacks=[folder])
    return folder.folder


def change(place: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(place.read_text())
    edit(document)
    place.write_text(json.dumps(document))


def path(folder: Path) -> Any:
    return read_path(folder, RunFolder(folder).knots)


def test_what_is_known_of_a_run(run: Path) -> None:
    assert read_asked(run).method == "linear" and read_info(run) == {"command": "llpf merge"}
    assert read_document(run)["format"] == "llpf-run" and path(run).outcome is Outcome.STRAIGHT


def test_info_may_be_missing_or_nonsense(run: Path) -> None:
    for value in (None, [1], "text"):
        change(run / "run.json", lambda d, v=value: d.update(info=v))  # type: ignore[misc]
        assert read_info(run) == {}


@pytest.mark.parametrize(
    "name", ["run.json", "path.json", "state.json", "buffers.safetensors", "knots/000001.safetensors"]
)
def test_a_file_that_is_missing_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(RunError, match="holds no finished path: resume the run first" if name == "path.json" else name):
        read_asked(run)
        path(run)


@pytest.mark.parametrize("name", ["run.json", "path.json", "state.json"])
@pytest.mark.parametrize("text", ["{", "[]", "3", '"text"', "\udcff"])
def test_a_file_that_is_damaged_is_named(run: Path, name: str, text: str) -> None:
    (run / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError, match=rf"{name}.*edited or damaged"):
        read_asked(run)
        path(run)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("asked"), "does not say what was asked"),
        (lambda d: d.update(asked=[]), "does not say what was asked"),
        (lambda d: d["asked"].pop("task"), "does not say what was asked"),
        (lambda d: d.update(version=3), "is of llpf-run 3; this program reads llpf-run 1 to 2"),
        (lambda d: d.update(format="other"), "is of other 2"),
        (lambda d: d.pop("version"), "is of llpf-run None"),
    ],
)
def test_a_run_that_does_not_say_what_it_is(run: Path, edit: Callable[[dict[str, Any]], object], message: str) -> None:
    change(run / "run.json", edit)
    with pytest.raises(RunError, match=message):
        read_asked(run)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(version=3), "is of llpf-path 3"),
        (lambda d: d["labels"].pop(), "2 knots, but 1 labels"),
        (lambda d: d.update(labels=[3, 4]), "does not describe a path"),
        (lambda d: d.update(knots=[]), "does not describe a path"),
        (lambda d: d.pop("ties"), "does not describe a path"),
        (lambda d: d.update(cost=None), "does not describe a path"),
        (lambda d: d.update(ties={"other": "nowhere"}), "does not describe a path"),
        (lambda d: d.update(knots=[0, 77]), r"000077\.safetensors is missing"),
    ],
)
def test_a_path_that_was_edited_beyond_reading(
    run: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    change(run / "path.json", edit)
    with pytest.raises(RunError, match=message):
        path(run)


def test_an_outcome_of_another_edition_is_none(run: Path) -> None:
    change(run / "path.json", lambda d: d.update(outcome="LOW"))
    assert path(run).outcome is None
    change(run / "path.json", lambda d: d.update(outcome=None))
    assert path(run).outcome is None


def test_tensors_and_documents_alone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere\.json is missing: .* is not a run folder, or it is incomplete"):
        read_json(tmp_path / "nowhere.json")
    with pytest.raises(RunError, match=r"nowhere\.safetensors is missing: the run folder is incomplete"):
        read_tensors(tmp_path / "nowhere.safetensors")
    torch.save({"w": torch.zeros(2)}, tmp_path / "pickle.safetensors")
    with pytest.raises(RunError, match=r"pickle\.safetensors cannot be read"):
        read_tensors(tmp_path / "pickle.safetensors")
