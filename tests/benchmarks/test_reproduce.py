"""`benchmarks/reproduce.py` at a tiny size: lines, stops within a pair, tables, figures, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny

from llpf_plugin.runs import held_file
from llpf_plugin.search import SearchOptions


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command on a tiny task, everything in one folder, and its lines so far."""
    import reproduce
    import reproduction

    monkeypatch.setattr(reproduction, "load_task", lambda *_: tiny.mlp())
    monkeypatch.setattr(reproduction, "WITHIN", 3)

    def command(*words: str, folder: str = "one") -> list[dict[str, Any]]:
        place = tmp_path / folder / "lines.jsonl"
        reproduce.main([*words, "--cache", str(tmp_path / folder), "--lines", str(place)])
        return [json.loads(line) for line in place.read_text().splitlines()] if place.is_file() else []

    return command


WORDS = ("digits/mlp", "--max-loss", "0.15", "--budget", "400", "--places", "4")


def test_three_ends_make_three_pairs_which_are_measured_once(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(*WORDS, "--pairs", "3")
    assert [line["pair"] for line in lines] == [[0, 1], [0, 2], [1, 2]]
    assert capsys.readouterr().out.count("training ") == 3
    assert run(*WORDS, "--pairs", "3") == lines
    for line in lines:
        assert line["maximum"] <= 0.15 < line["line"] and line["length"] >= 1
        assert max(line["curve"]["train"]) <= line["maximum"] * 1.1 and len(line["curve"]["t"]) == 5
        assert 0 < line["apart"]["cosine"] < 1 <= line["apart"]["variance"]
        assert line["curve"]["test"][-1] is None or line["curve"]["test"][-1] > 0
    assert lines[0]["continuity"]["excess"] and not lines[1]["continuity"]


def test_ends_that_are_kept_beside_the_lines_are_not_trained_again(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import reproduction

    first = run(*WORDS, folder="kept")[0]
    monkeypatch.setattr(reproduction, "ENDS", tmp_path / "kept")
    capsys.readouterr()
    again = run(*WORDS, folder="elsewhere")[0]
    assert "training" not in capsys.readouterr().out
    assert (again["maximum"], again["steps"]) == (first["maximum"], first["steps"])


def test_a_stop_within_a_pair_changes_no_number(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import reproduction

    whole = run(*WORDS, folder="whole")[0]

    def stop_at_third(self: Any, search: Any, tick: Any) -> None:
        search.stop = search.workspace.steps > 30 and not stopped
        if search.stop:
            stopped.append(tick)

    stopped: list[Any] = []
    monkeypatch.setattr(reproduction.Deadline, "on_tick", stop_at_third)
    assert run(*WORDS, "--minutes", "10") == [] and stopped
    resumed = run(*WORDS)[0]
    same = whole.keys() - {"seconds", "measured"}
    assert {k: resumed[k] for k in same} == {k: whole[k] for k in same}


def test_table_and_figure_show_the_lines(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(*WORDS, "--pairs", "2")
    run("table")
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| digits/mlp"))
    assert "adaptive" in row and "2 of 2" in row
    run("figure", "digits/mlp", "-o", str(tmp_path / "f.svg"))
    assert "2 pairs" in (tmp_path / "f.svg").read_text()


def test_a_task_without_test_data_has_dashes(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import reproduction

    monkeypatch.setattr(reproduction, "load_task", lambda *_: replace(tiny.mlp(), test=None))
    (line,) = run(*WORDS)
    assert set(line["curve"]["test"]) == {None}
    run("table")
    cells = capsys.readouterr().out.splitlines()[-1].split("|")
    assert [cell.strip() for cell in cells[10:12]] == ["–", "–"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("digits/mlp", "--schedule", "paper"), "the paper has no schedule for digits/mlp"),
        (("table",), "there is no line yet"),
        (("figure", "digits/mlp"), "there is no line of digits/mlp to draw"),
        (("digits/mlp", "-t", "width"), "'width' is not of the form key=value"),
    ],
)
def test_what_makes_no_sense_gets_one_sentence(run: Any, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(SystemExit, match=told):
        run(*words)


def test_a_task_that_does_not_exist_is_told_of(tmp_path: Path) -> None:
    import reproduce

    with pytest.raises(SystemExit, match="no built-in task 'mnist/lenet6'"):
        reproduce.main(["mnist/lenet6", "--lines", str(tmp_path / "l.jsonl"), "--cache", str(tmp_path)])


@pytest.mark.parametrize("damaged", ['{"task": "digits/mlp"', "[1, 2]", '{"task": "digits/mlp"}'])
def test_a_damaged_line_is_named_and_nothing_is_lost(run: Any, tmp_path: Path, damaged: str) -> None:
    run(*WORDS)
    place = tmp_path / "one" / "lines.jsonl"
    good = place.read_text()
    place.write_text(good + damaged + "\n")
    with pytest.raises(SystemExit, match="line 2 is damaged"):
        run("table")
    assert place.read_text() == good + damaged + "\n"


def test_commands_at_once_share_the_pairs(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import reproduction

    row = reproduction.Row("digits/mlp", {}, "adaptive", None, SearchOptions(), 4, 100)
    with held_file(row.folder(tmp_path / "one", (0, 2))):
        lines = run(*WORDS, "--pairs", "3")
    assert [line["pair"] for line in lines] == [[0, 1], [1, 2]]
    assert "left to another process" in capsys.readouterr().out
    assert [line["pair"] for line in run(*WORDS, "--pairs", "3")] == [[0, 1], [1, 2], [0, 2]]
