from pathlib import Path

import pytest
import torch
from helpers import stopped, tiny


@pytest.fixture
def asked(tmp_path: Path) -> list[object]:
    """The words that ask for a short walk between two small networks, which connects; ``-o`` is still to be said."""
    for name, weights in zip("ab", tiny.pair("mlp"), strict=True):
        torch.save({"state_dict": weights}, tmp_path / f"{name}.pt")
    ends = [tmp_path / "a.pt", tmp_path / "b.pt"]
    words = ["--align", "never", "--max-loss", 0.05, "--points", 1, "--device", "cpu", "--no-report"]
    return [*ends, "--task", stopped.TASK, *words]
