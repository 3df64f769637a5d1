"""The benchmark of likeness and averages, at a tiny size, from its command line."""

from pathlib import Path

import pytest
from helpers import tiny


def test_a_row_for_each_kind_of_pair(tmp_path: Path) -> None:
    import kinship

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinship, "load_task", lambda *_: tiny.mlp())
        patch.setattr(kinship, "TASKS", {"tiny": ("tiny/mlp", {})})
        kinship.main(["--tasks", "tiny", "--seeds", "1", "--epochs", "2", "--table", str(tmp_path / "table.md")])
    lines = (tmp_path / "table.md").read_text().splitlines()
    rows = {cells[0].strip(): cells for line in lines if (cells := line.strip("| ").split("|"))[0].startswith("tiny, ")}
    assert len(rows) == 16
    assert float(rows["tiny, gently finetuned"][1]) > 0.9 > 0.3 > float(rows["tiny, independent"][1])
    assert float(rows["tiny, independent, aligned"][1]) >= float(rows["tiny, independent"][1])
