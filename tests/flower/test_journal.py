"""The rows of a run beside its checkpoints: nothing grows but one file, and no row is another run's."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import json
from pathlib import Path

from helpers.flower_apps import QUIET, app, echo, grid, record, through
from safetensors.torch import load_file, save_file

from llpf_flower import LLPFStrategy, checkpoint
from llpf_flower.journal import NAME, Journal, read
from llpf_plugin.errors import RunError

START = record(w=[[1.0, 2.0]])
ROWS = [{"round": i, "clients": 2, "left_out": {}, "loss": i / 7} for i in range(1, 8)]


def resumed(place: Path) -> LLPFStrategy:
    made = LLPFStrategy(**QUIET)
    made.resume(place)
    return made


def test_every_round_adds_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / NAME)
    for count in (0, 1, 1, 4, 7):
        journal.write(ROWS[:count])
        lines = journal.file.read_text().splitlines()
        assert [json.loads(line) for line in lines] == ROWS[:count] == read(journal.file, count, journal.crc)
    assert journal.size == journal.file.stat().st_size


def test_half_a_line_of_a_killed_process_is_written_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / NAME)
    journal.write(ROWS[:3])
    with journal.file.open("a") as file:
        file.write('{"round": 4, "cli')
    assert read(journal.file, 3, journal.crc) == ROWS[:3]
    journal.write(ROWS[:5])
    assert read(journal.file, 5, journal.crc) == ROWS[:5]


def test_a_file_that_went_away_is_written_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / NAME)
    journal.write(ROWS[:3])
    journal.file.unlink()
    journal.write(ROWS[:5])
    assert read(journal.file, 5, journal.crc) == ROWS[:5]


def test_a_file_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / NAME)
    journal.write(ROWS[:3])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunError, match=r"rows\.jsonl: Permission denied"):
        journal.write(ROWS)


def test_an_earlier_checkpoint_has_the_rows_up_to_it_also_after_another_branch(tmp_path: Path) -> None:
    whole, _ = through(START, 6, checkpoint_dir=tmp_path)
    assert resumed(tmp_path / "round-00003.safetensors").rows == whole.rows[:3]
    branch = LLPFStrategy(**QUIET, checkpoint_dir=tmp_path)
    branch.start(grid(app(echo), 3), branch.resume(tmp_path / "round-00003.safetensors"), 1)
    assert [row["clients"] for row in resumed(tmp_path).rows] == [2, 2, 2, 3]


def test_rows_of_another_run_are_not_taken_for_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = through(START, 5, checkpoint_dir=tmp_path)
    made = LLPFStrategy(**QUIET, checkpoint_dir=tmp_path)
    made.start(grid(app(echo), 3), START, 2)
    assert resumed(tmp_path).rows == made.rows and "are lost" not in caplog.text
    old = resumed(tmp_path / "round-00005.safetensors")
    assert old.rows == first.rows[-1:] and old.first_round == 5
    assert "rows before that of round-00005.safetensors are lost" in caplog.text


def test_a_run_that_continues_in_another_folder_takes_its_rows_along(tmp_path: Path) -> None:
    through(START, 3, checkpoint_dir=tmp_path / "one")
    made = LLPFStrategy(**QUIET, checkpoint_dir=tmp_path / "two")
    made.start(grid(app(echo), 2), made.resume(tmp_path / "one"), 2)
    assert [row["round"] for row in resumed(tmp_path / "two").rows] == [1, 2, 3, 4, 5]


def test_a_checkpoint_of_the_first_version_still_opens(tmp_path: Path) -> None:
    made, _ = through(START, 4, checkpoint_dir=tmp_path)
    values = {"round": 4, "rows": made.rows, "names": {"arrays": ["w"]}}
    old = tmp_path / "old" / "round-00004.safetensors"
    old.parent.mkdir()
    save_file(load_file(tmp_path / "round-00004.safetensors"), old, metadata={checkpoint.KEY: json.dumps(values)})
    assert resumed(old).rows == made.rows
