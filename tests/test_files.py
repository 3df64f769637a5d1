import errno
import json
import os
from pathlib import Path

import pytest
import torch
from helpers.checkpoint_samples import file_size_limit
from safetensors.torch import save_file

from llpf_plugin.errors import RunError
from llpf_plugin.files import atomic_folder, atomic_write, remove_leftovers, write_json, write_text


def fail_halfway(path: Path) -> None:
    path.write_text("half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_writes_and_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.json"
    write_text(path, "old")
    assert write_json(path, {"loss": 0.5, "name": "größer"}) == path
    assert json.loads(path.read_text()) == {"loss": 0.5, "name": "größer"}
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


def test_full_disk_keeps_the_old_file_and_names_it(tmp_path: Path) -> None:
    path = write_text(tmp_path / "merged.pt", "old")
    with pytest.raises(RunError, match=r"disk is full.*merged\.pt.*Free some space"):
        atomic_write(path, fail_halfway)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("writer", ["torch", "safetensors", "text"])
def test_refusal_of_the_real_system_in_the_middle_of_a_file(tmp_path: Path, writer: str) -> None:
    tensors = {"w": torch.zeros(100_000)}
    path = tmp_path / "merged"
    path.write_text("old")

    def write(temporary: Path) -> None:
        if writer == "torch":
            with temporary.open("wb") as file:
                torch.save(tensors, file)
        elif writer == "safetensors":
            save_file(tensors, temporary)
        else:
            temporary.write_bytes(bytes(400_000))

    with file_size_limit(10_000), pytest.raises(RunError, match="merged was not written: File too large"):
        atomic_write(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_pass_through_and_leave_nothing(tmp_path: Path) -> None:
    def interrupted(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    def wrong(path: Path) -> None:
        path.write_text("half")
        raise TypeError("our own slip")

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "x", interrupted)
    with pytest.raises(TypeError, match="our own slip"):
        atomic_write(tmp_path / "x", wrong)
    assert not list(tmp_path.iterdir())


def test_parent_that_is_a_file(tmp_path: Path) -> None:
    write_text(tmp_path / "run", "a file")
    with pytest.raises(RunError, match="was not written"):
        write_text(tmp_path / "run" / "path.json", "x")


def test_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "disk" / "real.txt")
    write_text(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.txt").read_text() == "new"


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "shards"

    def write(names: str) -> None:
        atomic_folder(folder, lambda t: [(t / n).write_text(n) for n in names], lambda entry: entry.name in "abc")

    write("ab")
    write("c")
    assert [file.name for file in folder.iterdir()] == ["c"]
    assert list(tmp_path.iterdir()) == [folder]


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "run" / "thesis.tex", "years of work")
    with pytest.raises(RunError, match=r"run holds other files \(thesis\.tex\)"):
        atomic_folder(tmp_path / "run", lambda t: (t / "a").write_text("a"), lambda entry: False)
    write_text(tmp_path / "file", "x")
    with pytest.raises(RunError, match="is a file"):
        atomic_folder(tmp_path / "file", lambda t: (t / "a").write_text("a"), lambda entry: True)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "years of work"


def test_folder_survives_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    atomic_folder(folder, lambda t: (t / "a").write_text("old"), lambda entry: True)
    with pytest.raises(RunError, match=r"disk is full.*shards"):
        atomic_folder(folder, lambda t: fail_halfway(t / "a"), lambda entry: True)
    assert (folder / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_leftovers_of_a_killed_process_can_be_removed(tmp_path: Path) -> None:
    if os.fork() == 0:  # the child dies in the middle of a write, without any clean-up

        def die(path: Path) -> None:
            path.write_text("half")
            os._exit(1)

        atomic_write(tmp_path / "knots.safetensors", die)
    os.wait()
    write_text(tmp_path / "kept", "x")
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]


def test_leftovers_of_some_names_only(tmp_path: Path) -> None:
    mine, others = tmp_path / ".client-1.1a2b.partial.bin", tmp_path / ".client-12.1a2b.partial.bin"
    for file in (mine, others):
        file.write_text("half of it")
    remove_leftovers(tmp_path, "client-1.*")
    assert list(tmp_path.iterdir()) == [others]
