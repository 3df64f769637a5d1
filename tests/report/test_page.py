"""The page: one HTML file with its figures inside."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llpf_plugin.errors import LLPFError
from llpf_plugin.report import Measured, write_report
from llpf_plugin.runs import Join, balanced

Variant = Callable[..., Measured]


def title(page: Path) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page.read_text())
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def page(measured: Measured, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one run, without extras."""
    page, files = write_report([measured], tmp_path_factory.mktemp("page") / "report.html")
    assert files == []
    return page


def test_one_run(page: Path) -> None:
    text = page.read_text()
    assert title(page) == "a.pt → b.pt" and "tiny/conv width=3" in text
    assert "Not measured here: plane, saddle" in text and "llpf report run --metrics plane,saddle" in text
    assert text.count('<section id="run') == 1 and "Over pairs" not in text


def test_all_of_one_run_with_its_figures_as_files(everything: Measured, tmp_path: Path) -> None:
    page, files = write_report([everything], tmp_path / "report.html", tmp_path / "figures", ["svg"])
    text = page.read_text()
    assert "Not measured here" not in text and all(file.is_file() for file in files)
    assert len(files) == text.count('<figure class="card">') == 10
    assert "relative flatness, middle" in text and "ensembles, test" in text


def test_several_runs_and_a_sum_over_them(variant: Variant, tmp_path: Path) -> None:
    page, _ = write_report([variant("one"), variant("two", raised=1.0)], tmp_path / "report.html")
    text = page.read_text()
    assert title(page) == "2 paths compared" and "Over pairs" in text and "runs: 2, pairs: 1" in text
    assert all(f'id="{name}-' in text for name in ("frontier", "overlay", "run1-path", "run2-path"))
    assert text.count("✓ connected") == 1 and text.count("✗ not connected") == 1


def test_the_pairs_of_a_tree(variant: Variant, tmp_path: Path) -> None:
    scores = {"A": "90 %", "B": "80 %", "merged": "95 %"}
    joins = [Join(node, node.height < 2, 0.1, 5, 1.0, scores, "A") for node in balanced(3).pairs()]
    runs = [variant("1-2"), variant("1-3")]
    page, _ = write_report(runs, tmp_path / "report.html", tree=(["x", "y", "z"], joins))
    assert title(page) == "3 models joined" and "What was joined with what" in page.read_text()
    assert 'id="tree-' in page.read_text()


def test_notes_are_shown_and_names_are_text(measured: Measured, tmp_path: Path) -> None:
    odd = replace(measured.run, name="<b>", info={"a": "<i>.pt", "b": "b&.pt"})
    page, _ = write_report([replace(measured, run=odd, notes=["1 < 2"])], tmp_path / "report.html")
    text = page.read_text()
    assert "<h3>Notes</h3>" in text and "1 &lt; 2" in text
    assert title(page) == "&lt;i&gt;.pt → b&amp;.pt" and "<b>" not in text and "<i>" not in text


def test_no_notes_no_card(page: Path) -> None:
    assert "<h3>Notes</h3>" not in page.read_text()


def test_the_same_page_every_time(page: Path, measured: Measured, tmp_path: Path) -> None:
    assert write_report([measured], tmp_path / "again.html")[0].read_bytes() == page.read_bytes()


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_what_is_not_installed_is_named(
    measured: Measured, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LLPFError, match=rf"{package}: pip install 'llpf-plugin\[report\]'"):
        write_report([measured], tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
