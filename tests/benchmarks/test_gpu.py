"""`benchmarks/gpu.sh`, rehearsed on a CPU at tiny sizes."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
CPU = ("--device", "cpu", "--precision", "float32", "--budget", "200", "--max-loss", "0.15", "--epochs", "20")


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script on tiny tasks, everything in one folder."""
    import gpu
    import reproduction

    monkeypatch.setattr(reproduction, "load_task", lambda *_: tiny.conv())
    monkeypatch.setattr(gpu, "load_task", lambda *_: tiny.conv())
    for name, value in (("WITHIN", 3), ("SEGMENTS", 1)):
        monkeypatch.setattr(reproduction, name, value)
    monkeypatch.setattr(gpu, "STEPS", 2)
    return lambda *words: gpu.main([str(tmp_path / "out"), "--work", str(tmp_path / "work"), *CPU, *words])


def test_networks_are_gone_through_and_their_lines_rates_and_ends_kept(
    gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu("--tasks", "cifar10/vgg11", "cifar10/resnet18")
    out = tmp_path / "out"
    lines = [json.loads(line) for line in (out / "lines.jsonl").read_text().splitlines()]
    assert [line["task"] for line in lines] == ["cifar10/vgg11", "cifar10/resnet18"]
    assert set(json.loads((out / "rates.json").read_text())["bare"]) == {line["task"] for line in lines}
    ends = {name: t for place in out.glob("*.safetensors") for name, t in load_file(place).items()}
    assert {name.split("/")[0] for name in ends} == {f"cifar10-{n}-epochs=20" for n in ("vgg11", "resnet18")}
    assert all(t.dtype.is_floating_point is False or str(t.dtype) == "torch.bfloat16" for t in ends.values())
    table = capsys.readouterr().out
    assert table.count("| cifar10/") == 2 and "%" in table


def test_a_network_that_fails_does_not_keep_the_others(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu as script

    def rate(row: Any, compute: Any) -> float:
        if row.task == "cifar10/vgg11":
            raise RuntimeError("CUDA out of memory")
        return 1.0

    monkeypatch.setattr(script, "bare_rate", rate)
    gpu("--tasks", "cifar10/vgg11", "cifar10/resnet18")
    assert "cifar10/vgg11 failed: RuntimeError: CUDA out of memory" in capsys.readouterr().out
    assert len((tmp_path / "out" / "lines.jsonl").read_text().splitlines()) == 1


def test_what_does_not_fit_into_the_files_is_told(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu as script

    monkeypatch.setattr(script, "FILES", 3)  # lines, rates, and one file of networks
    monkeypatch.setattr(script, "LARGEST", 7000)
    gpu("--tasks", "cifar10/vgg11", "cifar10/resnet18")
    places = list((tmp_path / "out").iterdir())
    assert len(places) == 3 and all(p.stat().st_size <= 7000 for p in places if p.suffix == ".safetensors")
    assert "does not fit in the results" in capsys.readouterr().out


def test_no_time_leaves_nothing_half_done(gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu("--tasks", "cifar10/vgg11", "--minutes", "0")
    assert "the time was over within cifar10/vgg11" in capsys.readouterr().out
    assert not (tmp_path / "out" / "lines.jsonl").exists()


@pytest.mark.slow
@pytest.mark.skipif("LLPF_DATA" not in os.environ, reason="LLPF_DATA names no folder with CIFAR-10")
def test_the_command_itself_runs_on_cifar10(tmp_path: Path) -> None:
    words = ["--work", str(tmp_path / "work"), "--tasks", "cifar10/resnet18", "--width", "4", "--subset", "64"]
    command = [
        "bash",
        "benchmarks/gpu.sh",
        str(tmp_path / "out"),
        "2",
        *CPU,
        "--max-loss",
        "9",
        "--budget",
        "4",
        *words,
    ]
    run = subprocess.run([*command, "--epochs", "1"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "| cifar10/resnet18 |" in (tmp_path / "out" / "log.txt").read_text()
