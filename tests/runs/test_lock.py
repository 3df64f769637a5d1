"""One process has a folder, and says who it is; the lock goes with the process."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llpf_plugin.errors import RunError
from llpf_plugin.runs import held, held_file

HOLD = "import sys, time\nfrom pathlib import Path\nfrom llpf_plugin.runs import held\n" + (
    "with held(Path(sys.argv[1])):\n    Path(sys.argv[2]).touch()\n    time.sleep(60)\n"
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_whoever_comes_second_is_told_who_has_the_folder(tmp_path: Path) -> None:
    told = rf"run is being written by process {os.getpid()}: wait"
    with held(tmp_path / "run"), pytest.raises(RunError, match=told), held(tmp_path / "run"):
        pass
    with held(tmp_path / "run"):
        pass


def test_a_folder_into_which_nothing_was_written_goes_with_those_above_it(tmp_path: Path) -> None:
    with held(tmp_path / "deep" / "run"):
        assert names(tmp_path / "deep" / "run") == [".lock"]
    assert not names(tmp_path)
    (tmp_path / "mine").mkdir()
    with held(tmp_path / "mine"):
        pass
    assert names(tmp_path) == ["mine"] and not names(tmp_path / "mine")


def test_what_was_written_stays_without_the_lock(tmp_path: Path) -> None:
    with held(tmp_path / "run"):
        (tmp_path / "run" / "run.json").write_text("{}")
    assert names(tmp_path / "run") == ["run.json"]


def test_an_error_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path / "run"):
        1 / 0  # noqa: B018
    assert not names(tmp_path)


def test_nothing_and_a_file_are_not_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with held(None), held(tmp_path / "file"):
        assert names(tmp_path) == ["file"]


def test_a_killed_process_lets_go_and_its_lock_is_removed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run"), str(tmp_path / "here")]
    with subprocess.Popen(words) as other:
        while not (tmp_path / "here").exists():
            time.sleep(0.02)
        with pytest.raises(RunError, match=f"process {other.pid}:"), held(tmp_path / "run"):
            pass
        other.kill()
    assert names(tmp_path / "run") == [".lock"]
    with held(tmp_path / "run"):
        assert str(os.getpid()) in (tmp_path / "run" / ".lock").read_text()
    assert not names(tmp_path / "run")


def test_a_fork_that_outlives_its_parent_does_not_have_it(tmp_path: Path) -> None:
    """As the workers of a data loader do, for some seconds."""
    with held(tmp_path / "run"):
        child = os.fork()
        if child == 0:
            time.sleep(5)
            os._exit(0)
    began = time.monotonic()
    with held(tmp_path / "run"):
        assert time.monotonic() - began < 4
    os.kill(child, 9)
    os.waitpid(child, 0)


def test_a_fork_does_not_let_go_for_its_parent(tmp_path: Path) -> None:
    with held(tmp_path / "run"):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(RunError, match="is being written"), held(tmp_path / "run"):
            pass


def test_a_file_system_without_locks_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, what: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with held(tmp_path / "run"):
        pass
    assert not names(tmp_path)


def test_a_lock_of_another_machine_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held(tmp_path):
        monkeypatch.setattr("platform.node", lambda: "elsewhere")
        with pytest.raises(RunError, match=rf"process {os.getpid()} on .+: wait"), held(tmp_path):
            pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="was not written"), held(tmp_path / "file" / "run"):
        pass


def test_a_file_is_held_beside_it_and_what_was_left_of_it_goes(tmp_path: Path) -> None:
    for name in ("order.json", ".order.01234567.partial.json", ".other.01234567.partial.json", ".order.mine"):
        (tmp_path / name).write_text("{}")
    with held_file(tmp_path / "order.json"):
        assert ".order.json.lock" in names(tmp_path)
        with pytest.raises(RunError, match=r"order\.json is being written"), held_file(tmp_path / "order.json"):
            pass
    assert names(tmp_path) == [".order.mine", ".other.01234567.partial.json", "order.json"]
