"""The first line of a table says where its numbers come from."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*-*.md"))


def test_a_published_table_stands_under_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import provenance

    monkeypatch.setattr("sys.argv", ["/anywhere/tick.py"])
    place = tmp_path / "t.md"
    words = ["--turns", "2", "--table", str(place), "--kinds", "5e-3 / 0"]
    provenance.publish("| a |", place, words, ["commit 1, CPU, 2026", "commit 2, CPU, 2026", "commit 1, CPU, 2026"])
    assert place.read_text() == (
        "`python benchmarks/tick.py --turns 2 --kinds '5e-3 / 0'`: commit 1, CPU, 2026; commit 2, CPU, 2026\n\n| a |\n"
    )
    assert place.read_text() in capsys.readouterr().out


def test_a_stamp_names_the_commit_the_machine_and_the_day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import provenance

    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "llpf_plugin").mkdir()
    code = tmp_path / "llpf_plugin" / "a.py"
    code.write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, "add", "-A"], cwd=tmp_path, check=True)
    subprocess.run(["git", *who, "commit", "-qm", "one"], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    pattern = r"commit [0-9a-f]{7,}( and changes)?, .+ CPU, 1 thread, torch \S+, \d{4}-\d\d-\d\d"
    clean = re.fullmatch(pattern, provenance.stamp())
    assert clean is not None and clean[1] is None
    code.write_text("2")
    changed = re.fullmatch(pattern, provenance.stamp())
    assert changed is not None and changed[1] is not None
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "none")
    assert provenance.stamp().startswith("commit unknown, ")


@pytest.mark.parametrize("place", RESULTS, ids=lambda place: place.stem)
def test_every_stored_table_names_a_benchmark_that_there_is(place: Path) -> None:
    first, blank, *lines = place.read_text(encoding="utf-8").splitlines()
    scripts = re.findall(r"python (benchmarks/\w+\.py)", first)
    assert scripts and all((ROOT / script).is_file() for script in scripts) and blank == ""
    assert "commit" in first and any(line.startswith("|") for line in lines)
