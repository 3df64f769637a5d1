"""A finished run as its folder has it, and what in it does not fit together."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny

from llpf_plugin import LLPF, merge
from llpf_plugin.checkpoint import fingerprint
from llpf_plugin.errors import RunError
from llpf_plugin.geometry import Weights
from llpf_plugin.runs import KnotFolder, check_comparable, name_runs, open_run


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


def test_all_of_a_run(run: Path) -> None:
    found = open_run(run)
    assert (found.name, found.method, found.folder) == ("merge", "llpf", run) and found.notes == ()
    assert found.settings["max_loss"] == 0.3 and found.settings["phases"] == "all"
    assert found.task == ("tiny.py:mlp", {"width": 3})
    a, b = tiny.pair("mlp")
    assert found.pair == (fingerprint(a), fingerprint(b)) and tiny.same(found.path.start, a)
    assert found.verdict is not None and found.verdict.connected and found.picked == found.verdict.merged.t  # type: ignore[union-attr]
    assert open_run(run, "mine").name == "mine"


def test_a_run_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a folder: name the folder of a run, as llpf merge -o wrote it"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"run\.json is missing"):
        open_run(tmp_path)


def test_a_run_that_has_not_ended(run: Path) -> None:
    (run / "path.json").unlink()
    with pytest.raises(RunError, match="holds no finished path: resume the run first"):
        open_run(run)


def test_a_verdict_that_is_missing_or_damaged_is_a_note(run: Path) -> None:
    (run / "quality.json").write_text("{")
    found = open_run(run)
    assert found.verdict is None and found.picked is None and "quality.json is not JSON" in found.notes[0]
    (run / "quality.json").unlink()
    assert open_run(run).notes == ("quality.json is missing: the verdict that the search came to is not known",)


@pytest.mark.parametrize("t", [-1, 2])
def test_a_merged_model_that_lies_nowhere_is_none(run: Path, t: float) -> None:
    change(run / "quality.json", lambda d: d["merged"].update(t=t))
    assert open_run(run).picked is None


def test_knots_that_were_exchanged_are_noted(run: Path) -> None:
    knots = KnotFolder(run / "knots")
    inner = open_run(run).path.knots.ids[1]  # type: ignore[attr-defined]
    knots.put(inner, {k: t + 0.5 for k, t in knots.get(inner).items()})
    assert open_run(run).notes == ("path.json has other positions than its knots: path.json or a knot was edited",)
    knots.put(0, {k: t + 0.5 for k, t in knots.get(0).items()})
    notes = open_run(run).notes
    assert "the path's end A is not the checkpoint that run.json has the fingerprint of" in notes[0] and len(notes) == 2


@pytest.mark.parametrize("positions", [None, [0.0], "text", [None]])
def test_positions_that_make_no_sense_are_noted(run: Path, positions: Any) -> None:
    change(run / "path.json", lambda d: d.update(positions=positions))
    assert len(open_run(run).notes) == (positions is not None)


def test_an_end_is_checked_by_what_became_of_aligning_it(run: Path) -> None:
    def noted(b: str, align: str, alignment: Any = None) -> bool:
        change(run / "run.json", lambda d: (d["asked"].update(b=b, align=align), d["info"].update(alignment=alignment)))
        return any("end B is not the checkpoint" in note for note in open_run(run).notes)

    stored = open_run(run)
    assert stored.alignment is not None and stored.alignment.kept and stored.alignment.end != stored.asked.b
    assert not noted("other", "auto", stored.alignment.to_json()), "its own fingerprint counts"
    assert noted(stored.asked.b, "auto", {**stored.alignment.to_json(), "end": "other"})
    assert noted("other", "auto", {"kept": False}) and noted("other", "never")
    assert not noted("other", "auto"), "of an earlier version, which kept no record"
    assert not noted("other", "auto", {"kept": True, "line": "high"}), "edited beyond reading"


def test_ends_without_the_names_that_files_may_leave_out_are_the_same(tmp_path: Path) -> None:
    """Counters of BatchNorm are of no weight, and older files have none."""

    def bare(weights: Weights) -> Weights:
        return {k: t for k, t in weights.items() if "num_batches" not in k}

    a, b = tiny.pair("conv")
    merge([bare(a), bare(b)], tiny.conv(), "linear", out=tmp_path / "run")
    assert open_run(tmp_path / "run").notes == ()


def test_names_are_the_shortest_that_differ(tmp_path: Path) -> None:
    places = [tmp_path / "one" / "run", tmp_path / "two" / "run", tmp_path / "two" / "other"]
    assert name_runs(places[1:]) == ["run", "other"]
    assert name_runs(places) == ["one/run", "two/run", "two/other"]
    assert name_runs([]) == []
    with pytest.raises(RunError, match="the same run is named twice"):
        name_runs([places[0], places[0]])


def test_runs_of_different_tasks_are_not_compared(run: Path, made: Path) -> None:
    check_comparable([open_run(made), open_run(run)])
    change(run / "run.json", lambda d: d["asked"].update(task_arguments={"width": 4}))
    with pytest.raises(RunError, match=r"one is of tiny\.py:mlp width=3, other is of tiny\.py:mlp width=4"):
        check_comparable([open_run(made, "one"), open_run(run, "other")])
