"""The benchmark of means of many networks, at a tiny size, from its command line."""

from pathlib import Path

import pytest
from helpers import tiny


def test_a_row_for_each_way_to_the_mean(tmp_path: Path) -> None:
    import consensus

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consensus, "load_task", lambda *_: tiny.mlp())
        words = ["--task", "tiny/mlp", "--networks", "4", "--sizes", "3", "--cache", str(tmp_path)]
        consensus.main([*words, "--table", str(tmp_path / "table.md")])
    lines = (tmp_path / "table.md").read_text().splitlines()
    rows = [line.strip("| ").split("|") for line in lines if line.startswith("| tiny/mlp, 3 of them")]
    assert [row[0].partition(": ")[2].strip() for row in rows] == list(consensus.WHAT)
    spreads = [float(row[3]) for row in rows]
    assert spreads[0] == 1 and spreads[2] <= spreads[1] < 1
    assert float(rows[2][5]) >= 1
