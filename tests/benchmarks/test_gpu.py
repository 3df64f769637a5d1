"""`benchmarks/gpu.sh`, rehearsed on a CPU at tiny sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
CPU = ("--device", "cpu", "--precision", "float32", "--budget", "200", "--max-loss", "0.15", "--epochs", "20")
HERE = ("--at-once", "1", "--steps", "2")
TWO = ("--tasks", "cifar10/vgg11", "cifar10/regnetx-200mf")


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script on tiny tasks, everything in one folder."""
    import gpu
    import reproduction

    monkeypatch.setattr(reproduction, "load_task", lambda *_: tiny.conv())
    for name, value in (("WITHIN", 3), ("SEGMENTS", 1)):
        monkeypatch.setattr(reproduction, name, value)
    return lambda *words: gpu.main([str(tmp_path / "out"), "--work", str(tmp_path / "work"), *CPU, *HERE, *words])


def test_networks_are_gone_through_and_their_lines_rates_and_ends_kept(
    gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu(*TWO)
    out = tmp_path / "out"
    lines = [json.loads(line) for line in (out / "lines.jsonl").read_text().splitlines()]
    assert [(line["task"], line["aligned"]) for line in lines] == [
        ("cifar10/vgg11", False), ("cifar10/vgg11", True), ("cifar10/regnetx-200mf", False)
    ]  # fmt: skip
    assert [bool(line["continuity"]) for line in lines] == [True, False, True]
    assert json.loads((out / "rates.json").read_text())["cifar10/vgg11"].keys() == {"bare", "walk"}
    ends = {name: t for place in out.glob("*.safetensors") for name, t in load_file(place).items()}
    assert {name.rpartition("/")[0] for name in ends} == {
        f"cifar10-{n}-epochs=20/{i}" for n in ("vgg11", "regnetx-200mf") for i in range(2)
    }
    shown = capsys.readouterr().out
    assert shown.count("| cifar10/") == 3 and "| adaptive, aligned |" in shown
    gpu(*TWO)
    assert "training" not in capsys.readouterr().out and len((out / "lines.jsonl").read_text().splitlines()) == 3


def test_other_methods_and_further_pairs_have_lines(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu as script

    monkeypatch.setitem(script.NETWORKS, "cifar10/resnet20", script.Network(1, 2, ("sphere-curve",), True))
    gpu("--tasks", "cifar10/resnet20", "--budget", "30", "--max-loss", "9")
    lines = [json.loads(line) for line in (tmp_path / "out" / "lines.jsonl").read_text().splitlines()]
    ways = [(line["method"], line["aligned"], line["pair"][1]) for line in lines]
    assert ways == [
        ("llpf", False, 1), ("llpf", False, 2), ("sphere-curve", False, 1),
        ("llpf", True, 1), ("sphere-curve", True, 1),
    ]  # fmt: skip


def test_an_end_that_fails_keeps_its_own_pairs_only(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu as script

    own = script.end

    def end(row: Any, *rest: Any) -> Any:
        if row.task == "cifar10/vgg11":
            raise RuntimeError("CUDA out of memory")
        return own(row, *rest)

    monkeypatch.setattr(script, "end", end)
    gpu(*TWO)
    shown = capsys.readouterr().out
    assert "cifar10/vgg11, end 0: failed, RuntimeError: CUDA out of memory" in shown
    assert "cifar10/vgg11, adaptive, 0-1: left out" in shown
    assert len((tmp_path / "out" / "lines.jsonl").read_text().splitlines()) == 1


def test_large_networks_are_narrowed_and_spread_and_what_does_not_fit_is_told(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu as script

    for name, value in (("FILES", 4), ("LARGEST", 4000), ("SMALL", 0)):  # lines, rates, and two files of networks
        monkeypatch.setattr(script, name, value)
    gpu(*TWO)
    places = list((tmp_path / "out").iterdir())
    kept = [load_file(place) for place in places if place.suffix == ".safetensors"]
    assert len(places) == 4 and all(script.size(box) <= 4000 for box in kept)
    assert {t.dtype for box in kept for t in box.values() if t.is_floating_point()} == {torch.bfloat16}
    whole = {name.rpartition("/")[0] for box in kept for name in box}
    names = {n for box in kept for n in box}
    assert whole and all(f"{end}/{k}" in names for end in whole for k in tiny.conv().model.state_dict())
    assert "does not fit in the results" in capsys.readouterr().out


def test_no_time_leaves_nothing_half_done(gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu("--tasks", "cifar10/vgg11", "--minutes", "0")
    assert "cifar10/vgg11, end 0: left out" in capsys.readouterr().out
    assert not (tmp_path / "out" / "lines.jsonl").exists()


@pytest.mark.slow
@pytest.mark.skipif("LLPF_DATA" not in os.environ, reason="LLPF_DATA names no folder with CIFAR-10")
def test_the_command_itself_runs_on_cifar10(tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    command = [
        "bash", "benchmarks/gpu.sh", str(out), "2", *CPU, "--max-loss", "9", "--budget", "4", "--epochs", "1",
        "--work", str(work), "--steps", "2", "--at-once", "2", "--tasks", "cifar10/vgg11", "--width", "8",
        "--subset", "64",
    ]  # fmt: skip
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "| cifar10/vgg11 |" in (tmp_path / "out" / "log.txt").read_text()
