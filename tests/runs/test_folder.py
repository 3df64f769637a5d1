"""A run's folder: what it takes, keeps, refuses and leaves behind; a search that saves into it and resumes from it."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.searches import COARSE, GOALS, same_path
from safetensors.torch import load_file, save_file

from llpf_plugin import LLPF, Compute, find_path, merge
from llpf_plugin import Path as LossPath
from llpf_plugin.errors import InterruptedRun, RunError
from llpf_plugin.merging import open_descent
from llpf_plugin.records import Tick
from llpf_plugin.runs import (
    Asked,
    KnotFolder,
    RunFolder,
    check_folders,
    check_links,
    read_asked,
    read_path,
    tensors,
)
from llpf_plugin.runs import folder as folder_module
from llpf_plugin.search import Callback, Searching, SearchOptions, descend

ASKED = Asked("a", "b", "tiny", method_settings=COARSE.settings(), search={"max_loss": GOALS["mlp"]})


def created(folder: Path) -> RunFolder:
    run = RunFolder(folder, every=0.0)
    run.create(ASKED, {"running": torch.ones(2)}, {"running": torch.zeros(2)}, {"command": "llpf merge"})
    return run


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# The folder -----------------------------------------------------------------------------------------------------------


def test_a_run_says_who_wrote_it_and_what_was_asked(tmp_path: Path) -> None:
    run = created(tmp_path / "deep" / "run")
    document = json.loads((run.folder / "run.json").read_text())
    assert (document["format"], document["version"]) == ("llpf-run", 2)
    assert (
        document["written_by"] == f"llpf-plugin {version('llpf-plugin')}"
        and document["info"]["command"] == "llpf merge"
    )
    assert read_asked(run.folder) == ASKED and run.exists and not run.finished
    assert files(run.folder) == ["buffers.safetensors", "run.json"]


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    run = created(tmp_path / "run")
    with pytest.raises(RunError, match=r"already holds a run: add --resume to continue it, or name another with -o"):
        created(run.folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for place in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex"):
        with pytest.raises(RunError, match="is not an empty folder and holds no run"):
            RunFolder(place).check_free()
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").check_free()
    RunFolder(tmp_path / "nowhere").check_free()


def test_what_was_refused_before_its_first_state_leaves_nothing_behind(tmp_path: Path) -> None:
    run = created(tmp_path / "run")
    run.knots.put(0, {"w": torch.zeros(1)})
    run.abandon()
    assert not run.folder.exists()
    (tmp_path / "run").mkdir()
    again = created(tmp_path / "run")
    (again.folder / "notes.txt").write_text("mine")
    again.abandon()
    assert files(again.folder) == ["notes.txt"]
    RunFolder(tmp_path / "nowhere").abandon()


def test_a_run_that_has_a_state_is_not_abandoned(tmp_path: Path) -> None:
    run = created(tmp_path / "run")
    (run.folder / "state.json").write_text("{}")
    run.abandon()
    assert run.exists


def test_a_linked_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    created(tmp_path / "run").abandon()
    assert (tmp_path / "run").is_symlink() and (tmp_path / "disk").is_dir() and not files(tmp_path / "disk")


def test_what_a_killed_process_left_of_its_first_file_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.0123.partial.json").write_text("{")
    RunFolder(tmp_path / "run").check_free()
    created(tmp_path / "run")


def test_empty_folders_are_nothing_too(tmp_path: Path) -> None:
    (tmp_path / "run" / "linear" / "knots").mkdir(parents=True)
    RunFolder(tmp_path / "run").check_free()
    (tmp_path / "run" / "link").symlink_to(tmp_path)
    with pytest.raises(RunError, match="not an empty folder"):
        RunFolder(tmp_path / "run").check_free()


@pytest.mark.parametrize("name", ["merged.pt", "knots/000001.safetensors", "quality.json"])
def test_links_in_a_run_are_refused(tmp_path: Path, name: str) -> None:
    """What they lead to would be overwritten."""
    run = created(tmp_path / "run")
    (tmp_path / "mine").write_text("mine")
    (run.folder / "knots").mkdir(exist_ok=True)
    (run.folder / name).symlink_to(tmp_path / "mine")
    with pytest.raises(RunError, match=rf"{name} is a link, and what it leads to would be overwritten: remove it"):
        check_links(run.folder)


def test_knots_that_no_state_names_are_removed(tmp_path: Path) -> None:
    run = created(tmp_path / "run")
    with pytest.raises(InterruptedRun):
        search(run, StopAfter(5))
    before = files(run.folder)
    run.knots.put(77, run.knots.get(0))
    (run.folder / "path.before.json").write_text("{}")
    assert RunFolder(run.folder).load() is not None
    assert files(run.folder) == sorted([*before, "path.before.json"]), "it has not ended again"


def test_several_runs_have_one_folder(tmp_path: Path) -> None:
    check_folders(tmp_path / "out", ["1-2", "1-3"], resume=False)
    created(tmp_path / "out" / "1-3")
    with pytest.raises(RunError, match=r"already holds these runs: add --resume to continue them"):
        check_folders(tmp_path / "out", ["1-2", "1-3"], resume=False)
    check_folders(tmp_path / "out", ["1-2", "1-3"], resume=True)
    for resume in (False, True):
        with pytest.raises(RunError, match="is not an empty folder"):
            check_folders(tmp_path / "out", ["5-6"], resume)
    (tmp_path / "out" / "1-2").mkdir()
    check_folders(tmp_path / "out", ["1-2", "1-3"], resume=True)
    (tmp_path / "out" / "1-2" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=r"1-2 is not an empty folder and holds no run"):
        check_folders(tmp_path / "out", ["1-2", "1-3"], resume=True)


def test_a_single_run_is_not_several(tmp_path: Path) -> None:
    created(tmp_path / "run")
    created(tmp_path / "run" / "1-2")
    with pytest.raises(RunError, match="holds a single run, and several are to be written"):
        check_folders(tmp_path / "run", ["1-2"], resume=True)


@pytest.mark.parametrize("name", ["merged.pt", "tree.json", "compare.json", "report.html"])
def test_results_of_runs_that_have_not_ended_are_not_theirs(tmp_path: Path, name: str) -> None:
    run = created(tmp_path / "out" / "1-2")
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(RunError, match=f"{name} was not written by a run, .*: move it elsewhere"):
        check_folders(tmp_path / "out", ["1-2", "1-3"], resume=True)
    (run.folder / "path.json").write_text("{}")  # it may be that of an earlier comparison of fewer methods
    check_folders(tmp_path / "out", ["1-2", "1-3"], resume=True)


# What may be resumed --------------------------------------------------------------------------------------------------


def test_a_run_is_resumed_with_what_it_was_asked(tmp_path: Path) -> None:
    run = created(tmp_path / "run")
    run.check_same(ASKED)
    with pytest.raises(RunError, match=r"holds another run: search\.seed was None, is 3\. Resume with the same"):
        run.check_same(replace(ASKED, search={**ASKED.search, "seed": 3}))
    many = {f"{'long' * 50}{i}": "x" * 1000 for i in range(20)}
    with pytest.raises(RunError, match=r"… \(20 in all\)") as caught:
        run.check_same(replace(ASKED, task_arguments=many))
    assert len(str(caught.value)) < 3000


def test_another_budget_or_goal_is_no_other_run(tmp_path: Path) -> None:
    run = created(tmp_path / "run")
    assert not run.goes_on(ASKED)
    now = replace(ASKED, search={"max_loss": 0.1, "budget": 7})
    run.check_same(now)
    assert run.goes_on(now)
    run.ask_anew(now)
    assert read_asked(run.folder) == now and not run.goes_on(now)


@pytest.mark.parametrize(
    ("head", "writer"),
    [
        ({"version": 1}, r"llpf-plugin 0\.1,"),  # which did not say who it was
        ({"version": 1, "written_by": "llpf-plugin 0.1.9"}, r"llpf-plugin 0\.1\.9,"),
    ],
)
def test_a_run_of_the_first_edition_is_not_resumed_and_names_who_wrote_it(
    tmp_path: Path, head: dict[str, Any], writer: str
) -> None:
    run = created(tmp_path / "run")
    document = json.loads((run.folder / "run.json").read_text())
    del document["written_by"]
    (run.folder / "run.json").write_text(json.dumps({**document, **head}))
    with pytest.raises(RunError, match=f"was written by {writer} whose runs this version can report but not resume"):
        run.check_same(ASKED)


def test_a_run_of_a_later_edition_is_neither_resumed_nor_read(tmp_path: Path) -> None:
    run = created(tmp_path / "run")
    document = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**document, "version": 3}))
    for call in (lambda: run.check_same(ASKED), lambda: read_asked(run.folder)):
        with pytest.raises(RunError, match=r"run\.json is of llpf-run 3; this program reads llpf-run 1 to 2"):
            call()


# A search that saves --------------------------------------------------------------------------------------------------


class StopAfter(Callback):
    """Asks for a stop at a tick; a folder that comes after it saves before the search stops."""

    def __init__(self, ticks: int) -> None:
        self.left = ticks

    def on_tick(self, search: Searching, tick: Tick) -> None:
        self.left -= 1
        search.stop = self.left == 0


class Killed(Callback):
    """Dies in the middle, at an event, whatever has been saved."""

    def __init__(self, ticks: int) -> None:
        self.left = ticks

    def on_tick(self, search: Searching, tick: Tick) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def search(folder: RunFolder, *callbacks: Callback, **options: Any) -> LossPath:
    a, b = tiny.pair("mlp")
    options = {"max_loss": GOALS["mlp"], "lr": 0.1, **options}
    return find_path(a, b, tiny.mlp(), COARSE, knots=folder.knots, callbacks=[*callbacks, folder], **options)


@pytest.mark.parametrize("ticks", [1, 4, 8])
@pytest.mark.parametrize("end", [StopAfter, Killed])
def test_a_run_that_was_cut_short_resumes_bit_by_bit(tmp_path: Path, end: type[Callback], ticks: int) -> None:
    whole = search(created(tmp_path / "whole"))
    run = created(tmp_path / "run")
    with pytest.raises((InterruptedRun, KeyboardInterrupt)):
        search(run, end(ticks))  # type: ignore[call-arg]
    (run.folder / ".state.1234.partial.json").write_text("half")  # what a killed process leaves
    again = RunFolder(run.folder, every=0.0)
    saved = again.load()
    assert saved is not None and not (run.folder / ".state.1234.partial.json").exists()
    assert same_path(search(again, resume=saved), whole)
    assert files(run.folder / "knots") == files(tmp_path / "whole" / "knots")


def writes(monkeypatch: pytest.MonkeyPatch, die_at: int = 0) -> list[str]:
    """The files that are written, by name; the process is killed in the place of the write of that number."""
    done: list[str] = []

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def writing(place: Path, *rest: Any) -> Any:
            done.append(place.name)
            if len(done) == die_at:
                raise KeyboardInterrupt
            return write(place, *rest)

        return writing

    monkeypatch.setattr(tensors, "atomic_write", counted(tensors.atomic_write))
    for module in (tensors, folder_module):
        monkeypatch.setattr(module, "write_json", counted(module.write_json))
    return done


@pytest.mark.parametrize("kind", ["pair", "origin"])
def test_a_merge_that_is_killed_between_any_two_files_resumes_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def go(folder: Path, resume: bool = False) -> None:
        task, (a, b), options = tiny.mlp(), tiny.pair("mlp"), SearchOptions(max_loss=0.5, points=1, budget=60)
        if kind == "pair":
            merge([a, b], task, COARSE, out=folder, resume=resume, **options.to_json())
        else:
            pair = open_descent(a, task, LLPF(), options, Compute("cpu"), 0.5, out=folder, resume=resume)
            with pair.running():
                pair.close(descend(pair.search))

    for event in ("on_tick", "on_measure"):  # at each of them, however long the last saving took
        monkeypatch.setattr(RunFolder, event, lambda self, search, *_: self.save(search))
    with monkeypatch.context() as patch:
        names = writes(patch)
        go(tmp_path / "whole")
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in files(tmp_path / "whole") if "json" not in name}
    assert len(whole) > 4 and any("merged" in name for name in whole)
    for number in {*range(1, 13), *range(13, len(names), 7), *range(len(names) - 8, len(names) + 1)}:
        with monkeypatch.context() as patch:
            writes(patch, die_at=number)
            with pytest.raises(KeyboardInterrupt):
                go(tmp_path / "run")
        go(tmp_path / "run", resume=True)
        found = {name: (tmp_path / "run" / name).read_bytes() for name in files(tmp_path / "run") if "json" not in name}
        assert found == whole, (number, names[number - 1])
        shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize("name", ["knots/000000.safetensors", "state-", "buffers.safetensors", "state.json"])
def test_a_stopped_run_that_was_damaged_is_not_resumed(tmp_path: Path, name: str) -> None:
    """The buffers are not read by a search that continues, but by whoever reads its path."""
    run = created(tmp_path / "run")
    with pytest.raises(InterruptedRun):
        search(run, StopAfter(5))
    (place,) = [tmp_path / "run" / file for file in files(tmp_path / "run") if file.startswith(name)]
    if place.suffix == ".json":
        place.write_text(place.read_text().replace('"steps": ', '"steps": 1', 1))
    else:
        save_file({k: t + 0.5 for k, t in load_file(place).items()}, place)
    if name.startswith("buffers"):
        search(RunFolder(run.folder), resume=RunFolder(run.folder).load())
    with pytest.raises(RunError, match=rf"{re.escape(place.name)} is not what the run wrote"):
        read_path(run.folder, run.knots) if name.startswith("buffers") else RunFolder(run.folder).load()


def test_a_run_that_does_not_say_that_it_has_digests_is_read_without(tmp_path: Path) -> None:
    """Runs of the days before there were digests; a digest that is there is checked all the same."""
    run = created(tmp_path / "run")
    with pytest.raises(InterruptedRun):
        search(run, StopAfter(5))
    document = json.loads((run.folder / "run.json").read_text())
    assert document.pop("digests") is True
    (run.folder / "run.json").write_text(json.dumps(document))
    for file in files(run.folder):
        if file.endswith(".safetensors"):
            save_file(load_file(run.folder / file), run.folder / file)
    state = json.loads((run.folder / "state.json").read_text())
    del state["digest"]
    (run.folder / "state.json").write_text(json.dumps(state))
    path = search(RunFolder(run.folder), resume=RunFolder(run.folder).load())
    assert same_path(path, search(created(tmp_path / "whole")))
    state["progress"]["labels"] = []
    (run.folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(RunError, match=r"state\.json is not the state of a search \(Progress: labels"):
        RunFolder(run.folder).load()


@pytest.mark.parametrize("name", ["/etc/passwd", "../other.safetensors", ["x"]])
def test_a_state_names_no_file_elsewhere(tmp_path: Path, name: Any) -> None:
    run = created(tmp_path / "run")
    tensors.write_state(run.folder / "state.json", {"progress": {}, "tensors": name})
    with pytest.raises(RunError, match=r"state\.json is not the state of a search"):
        run.load()


def test_a_finished_run_is_read_from_its_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llpf_plugin.search.assemble.BLOCK", 3)
    run = created(tmp_path / "run")
    path = search(run)
    assert run.finished and path.cost.dropped > 0
    read = read_path(run.folder, KnotFolder(run.folder / "knots"))
    assert all(tiny.same(x, y) for x, y in zip(read.knots, path.knots, strict=True))
    assert (list(read.labels), repr(list(read.record)), read.outcome) == (
        list(path.labels), repr(list(path.record)), path.outcome,
    )  # fmt: skip
    assert read.cost.gradient_steps == path.cost.gradient_steps and read.cost.goal == GOALS["mlp"]
    assert read.start["running"].tolist() == [1, 1] and read.end["running"].tolist() == [0, 0]
    assert [f"{i:06d}.safetensors" for i in sorted(path.knots.ids)] == files(run.folder / "knots")  # type: ignore[attr-defined]
    assert sum(name.startswith("state-") for name in files(run.folder)) == 0  # no tensors are needed any more


def test_only_the_last_state_is_kept_and_every_knot_it_names(tmp_path: Path) -> None:
    run = created(tmp_path / "run")

    class Looks(Callback):
        seen = 0

        def on_tick(self, search: Searching, tick: Tick) -> None:
            if not (run.folder / "state.json").exists():
                return
            self.seen += 1
            document = json.loads((run.folder / "state.json").read_text())
            assert [document["tensors"]] == [f for f in files(run.folder) if f.startswith("state-")] or not document[
                "tensors"
            ]
            named = {*document["progress"]["chain"], *document["progress"]["fresh"]["knots"]}
            assert {f"knots/{i:06d}.safetensors" for i in named} <= set(files(run.folder))

    looks = Looks()
    search(run, looks)
    assert looks.seen > 6


def test_saving_takes_its_time(tmp_path: Path) -> None:
    """Every few seconds only: here the start, the measurements' ends and the end."""
    run = RunFolder(tmp_path / "run", every=3600.0)
    run.create(ASKED, {}, {})
    saved: list[int] = []
    save = run.save
    run.save = lambda search: (saved.append(len(search.progress.record)), save(search))[1]  # type: ignore[method-assign, func-returns-value]
    path = search(run)
    assert len(saved) == 1 + (path.cost.repairs + 1) + 1 and saved[0] == 0


def test_buffers_that_have_two_names_are_both_kept(tmp_path: Path) -> None:
    shared = torch.arange(4.0)
    RunFolder(tmp_path / "run").create(ASKED, {"norm": shared, "norm_again": shared}, {})
    assert set(load_file(tmp_path / "run" / "buffers.safetensors")) == {"A.norm", "A.norm_again"}
