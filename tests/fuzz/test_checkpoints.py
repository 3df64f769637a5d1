"""Malformed checkpoints: read rightly or refused in one sentence, soon, in little memory, and nothing else happens."""

import stat
import tempfile
from pathlib import Path

import pytest

from fuzz.checkpoints import checkpoint
from fuzz.jobs import Jobs


def size_of(place: Path) -> int:
    """Of a file, or of all files of a folder."""
    try:
        files = [*place.rglob("*")] if place.is_dir() else [place]
        return sum(file.stat().st_size for file in files if stat.S_ISREG(file.stat().st_mode))
    except OSError:
        return 0


def faults(server: Jobs, seed: int) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = checkpoint(seed, folder)
        before = sorted(folder.rglob("*"))
        found = server.call("llpf_plugin.checkpoint:read", place).faults(size_of(place))
        return found + (["files were made"] if sorted(folder.rglob("*")) != before else [])


@pytest.mark.parametrize("first", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(60, 3000, 60))])
def test_malformed_checkpoints(server: Jobs, first: int) -> None:
    wrong = {seed: found for seed in range(first, first + 60) if (found := faults(server, seed))}
    assert not wrong, "\n".join(f"{seed}: {found}" for seed, found in wrong.items())
