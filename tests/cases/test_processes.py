"""The commands as the system runs them: streams and paths in other encodings, full disks, kills, two at once."""

import os
import resource
import subprocess
import time
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, ended, llpf, merge, order, process, started

HOOKED = Path(__file__).parents[1] / "helpers" / "hooked.py"
ROOT = Path(__file__).parents[2]


# ---- encodings


def test_a_merge_prints_to_a_stream_of_another_encoding(asked: list[object], tmp_path: Path) -> None:
    """As where Windows writes a program's output to a file."""
    result = process("llpf-merge", *asked, "-o", tmp_path / "run", env={"PYTHONIOENCODING": "cp1252"})
    assert result.code == 0 and not result.traceback, result.err[-1000:]
    assert "connected" in result.out and (tmp_path / "run" / "merged.pt").is_file()


def test_an_order_prints_to_a_stream_that_knows_ascii_alone(tmp_path: Path) -> None:
    model = "from torch import nn, zeros\n\ndef model():\n    return nn.Sequential(nn.Linear(3, 4)), zeros(1, 3)\n"
    (tmp_path / "mine.py").write_text(model)
    result = process("llpf-order", "mine.py:model", env={"PYTHONIOENCODING": "ascii"}, cwd=tmp_path)
    assert result.code == 0 and not result.traceback, result.err[-1000:]
    assert "Linear" in result.out


def works_or_is_refused(words: list[object], out: Path) -> None:
    """A merge, or one sentence before anything is written, which does not blame the file."""
    result = process("llpf-merge", *words, "-o", bytes(out))
    assert not result.traceback and "damaged" not in result.err, result.err[-1000:]
    if result.code == 1:
        assert not out.exists() and len(result.err.splitlines()) == 1, result.err
    else:
        assert result.code == 0 and (out / "merged.pt").is_file(), result.text


def test_a_checkpoint_whose_path_is_not_utf8(asked: list[object], tmp_path: Path) -> None:
    place = os.fsencode(tmp_path) + b"/a\xff.pt"
    (tmp_path / "a.pt").rename(os.fsdecode(place))
    works_or_is_refused([place, *asked[1:]], tmp_path / "run")


def test_a_run_folder_whose_path_is_not_utf8(asked: list[object], tmp_path: Path) -> None:
    works_or_is_refused(asked, Path(os.fsdecode(os.fsencode(tmp_path) + b"/o\xff")))


# ---- a full disk


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    place = tmp_path / "order.json"
    assert order("digits/mlp", "-o", place).code == 0
    before, full = place.read_bytes(), {resource.RLIMIT_FSIZE: place.stat().st_size}
    result = process("llpf-order", "digits/resnet", "-o", place, limits=full)
    assert result.code in (1, 2) and not result.traceback and len(result.err.splitlines()) == 1, result.text
    assert place.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["order.json"]


# ---- kills


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_killed_at_its_first_file_is_resumed(asked: list[object], tmp_path: Path, when: str) -> None:
    words = [*asked, "-o", tmp_path / "run"]
    killed = process(HOOKED, f"die:replace:1:{when}", "llpf-merge", *words)
    assert killed.code == -9 and (tmp_path / "run" / "run.json").exists() == (when == "after"), killed.text
    result = merge(*words, "--resume")
    assert result.code == 0 and (tmp_path / "run" / "merged.pt").is_file(), result.text
    assert merge(*asked, "-o", tmp_path / "whole").code == 0
    whole, resumed = (sorted(p.relative_to(f) for p in f.rglob("*")) for f in (tmp_path / "whole", tmp_path / "run"))
    assert resumed == whole, "nothing is left of what was killed"


# ---- two at once


def here(place: Path) -> list[int]:
    """The processes that are held at a place."""
    return [int(p.name.rpartition("-")[2]) for p in place.parent.glob(f"{place.name}-*")]


def until(*ready: "tuple[Path, int] | subprocess.Popen[bytes]") -> None:
    """Wait until so many processes are held at a place, or one has ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for one in ready:
            if len(here(one[0])) >= one[1] if isinstance(one, tuple) else one.poll() is not None:
                return
        time.sleep(0.05)
    raise AssertionError("nothing happened for 30 s")


def refused(result: Result, holder: int) -> None:
    """One sentence, which names the process that has the folder."""
    assert result.code == 1 and not result.traceback, result.text
    assert str(holder) in result.err and len(result.err.splitlines()) == 1, result.err


def test_of_two_processes_that_begin_in_one_folder_one_is_refused(asked: list[object], tmp_path: Path) -> None:
    words, gate = [*asked, "-o", tmp_path / "run"], tmp_path / "gate"
    both = [started(HOOKED, f"hold:mkdir:1:{gate}", "llpf-merge", *words, "--seed", seed) for seed in (1, 2)]
    until((gate, 2), *both)
    gate.touch()
    results = {one.pid: ended(one) for one in both}
    winners = [pid for pid, result in results.items() if result.code in (0, 3)]
    assert len(winners) == 1, [result.text for result in results.values()]
    refused(next(result for pid, result in results.items() if pid not in winners), winners[0])


def test_a_run_that_is_going_on_is_not_resumed(asked: list[object], tmp_path: Path) -> None:
    words, gate = [*asked, "-o", tmp_path / "run"], tmp_path / "gate"
    first = started(HOOKED, f"hold:replace:6:{gate}", "llpf-merge", *words)
    until((gate, 1), first)
    second = merge(*words, "--resume")
    gate.touch()
    assert ended(first).code == 0
    refused(second, first.pid)


@pytest.mark.parametrize(
    "command", ["compare", "align", *(pytest.param(c, marks=pytest.mark.slow) for c in ("tree", "origin", "report"))]
)
def test_whatever_writes_to_a_folder_has_it_alone(asked: list[object], tmp_path: Path, command: str) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    torch.save({"state_dict": tiny.trained("mlp", 3)}, tmp_path / "c.pt")
    lines = {
        "tree": ["merge", *asked[:2], tmp_path / "c.pt", *asked[2:], "--budget", 10],
        "compare": ["compare", *asked, "--methods", "linear"],
        "origin": ["origin", asked[0], *asked[2:4], "--ticks", 2, "--budget", 20, "--points", 1, "--no-report"],
        "align": ["align", *asked[:2], "--model", f"{tiny.__file__}:mlp"],
        "report": ["report", tmp_path / "run", "--metrics", "none", "--figures", "none", "--task", asked[3]],
    }
    if command == "report":
        assert merge(*asked, "-o", tmp_path / "run").code == 0
    line = [*lines[command], "-o", out]
    first = started(HOOKED, f"hold:replace:1:{gate}", "llpf", *line)
    until((gate, 1), first)
    second = llpf(*line)
    gate.touch()
    found = ended(first)
    assert found.code in (0, 3), found.text
    refused(second, first.pid)


# ---- imports and arguments


def test_a_factory_may_import_a_neighbour_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "mydata.py").write_text("CLASSES = 3\n")
    (tmp_path / "mine.py").write_text(
        "import torch\n\nfrom llpf_plugin import Task, TensorData\n\n"
        "def task():\n    import mydata\n\n"
        "    layers = torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, mydata.CLASSES)\n"
        "    data = TensorData(torch.randn(9, 6), torch.zeros(9, dtype=torch.long))\n"
        "    return Task(torch.nn.Sequential(*layers), data)\n"
    )
    for name, weights in zip("ab", tiny.pair("mlp"), strict=True):
        torch.save(weights, tmp_path / f"{name}.pt")
    result = merge(tmp_path / "a.pt", tmp_path / "b.pt", "--task", f"{tmp_path / 'mine.py'}:task", "--dry-run")
    assert result.code == 0, result.text
