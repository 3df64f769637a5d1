"""The benchmark of depths, on one small model, from its command line."""

from pathlib import Path

import pytest


def test_a_row_counts_the_pairs(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    import depths

    depths.main(["--models", "resnet18", "--table", str(tmp_path / "table.md")])
    [row] = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| resnet18")]
    model, theirs, ours, apart, same, together, turned, _ = (cell.strip() for cell in row.strip("|").split("|"))
    assert (model, theirs, ours, turned) == ("resnet18", "10", "10", "0")
    assert int(apart) == int(same) + int(together) > 1000
