"""The benchmark of joined heads, at a tiny size, from its command line."""

from pathlib import Path

import pytest
from helpers import heads

from llpf_plugin.merging.candidates import WAYS


def test_a_row_for_each_parent_and_each_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import union

    table = tmp_path / "t.md"
    words = ["--pairs", "2", "--steps", "20", "--epochs", "4", "--cache", str(tmp_path), "--table", str(table)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(union, "load_task", lambda *_: heads.points())
        union.main(words)
        assert "training union_points_1b.pt" in capsys.readouterr().out
        union.main(words)
    assert "training union" not in capsys.readouterr().out
    rows = [line.strip("| ").split("|") for line in table.read_text().splitlines() if "|" in line]
    cells = {row[0].strip(): [float(cell) for cell in row[1:]] for row in rows[2:]}
    assert list(cells) == ["A", "B", *WAYS, union.CHOSEN]
    assert cells["A"][1] == cells["B"][0] == 0 and cells["A"][0] > 80 and cells["B"][1] > 80
    assert all(row[2] == pytest.approx(sum(row[3:]) / 2, abs=0.1) for row in cells.values())
    assert cells[union.CHOSEN][2] > max(cells["A"][2], cells["B"][2])


def test_the_classes_of_a_pair_are_disjoint_and_whole() -> None:
    import union

    for pair in range(3):
        a, b = union.halves(10, pair)
        assert len(a) == len(b) == 5 and sorted(a + b) == list(range(10))
