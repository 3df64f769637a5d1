"""The benchmarks of time and memory, at a tiny size, from their command lines."""

import os
from pathlib import Path

import pytest
import torch


def has_cifar10() -> bool:
    return (Path(os.environ.get("LLPF_DATA", "")) / "cifar-10-batches-py").is_dir()


def test_a_tick_is_timed_and_its_memory_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import tick

    monkeypatch.setattr(tick, "resnet18", lambda width: tick.random_resnet18(width, n=8))
    monkeypatch.setattr(tick, "densenet", lambda: tick.random_resnet18(8, n=8))
    tick.main(["--device", "cpu", "--width", "8", "--batch-size", "2", "--turns", "1"])
    rows = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith(("| ResNet18", "| Dense", "| digits"))
    ]
    assert len(rows) == 7
    added = [float(row.split("+")[1].split("×")[0]) for row in rows[4:]]
    assert all(1.9 < a <= 2.5 for a in added)  # the destination, the copy to undo a move, and a difference


def test_the_literal_tick_is_the_tick_that_is_timed() -> None:
    import tick

    case = tick.cases(2, 8)[-1]
    workspace = tick.Workspace(case.task(), tick.Compute("cpu"), batch_size=case.batch_size)
    walk = tick.walk_of(workspace, case.steps, tick.Unsettled)
    state = walk.init(*tick.ends_of(workspace))
    literal = tick.LiteralTick(walk, tick.STEP_A)
    for _ in range(3):
        literal()
        state = walk.step(state).state
    reached = tick.coordinates(literal.model)
    assert all(torch.allclose(walk.weights[k], t, atol=1e-6) for k, t in reached.items())
    assert any(not torch.equal(walk.weights[k], walk.direction.destination[k]) for k in reached)
