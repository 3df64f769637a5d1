"""Found rates beside fixed ones, as ``benchmarks/rates.py`` measures and tables them."""

import json
from pathlib import Path

import pytest
from helpers import tiny


def test_every_rate_is_tried_once_and_the_best_one_is_tabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import rates

    case = rates.Case(tiny.mlp, epochs=5, sgd=None, adamw=0.02, tolerance=0.2)
    monkeypatch.setitem(rates.CASES, "mlp", case)
    monkeypatch.setattr(rates, "BUDGET", 60)
    monkeypatch.setattr(rates, "FIXED", (0.1, 1e-9))
    words = ["--cases", "mlp", "--pairs", "1", "--cache", str(tmp_path), "--json", str(tmp_path / "r.jsonl")]
    rates.main([*words, "--table", str(tmp_path / "t.md")])
    assert "mlp, AdamW, 0: found" in capsys.readouterr().out
    monkeypatch.setattr(rates, "search", None)  # nothing is searched twice
    rates.main(words)
    results = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [r["rule"] for r in results] == ["found", "task's", "fixed", "fixed"]
    assert results[1]["lr"] == 0.1 and all(r["steps"] <= 60 for r in results)
    best = min((r for r in results if r["rule"] == "fixed" and r["connected"]), key=lambda r: r["steps"])
    assert f"{best['steps']} at {best['lr']:.2g}" in (tmp_path / "t.md").read_text()


@pytest.mark.slow
def test_a_transformer_that_the_default_rate_does_not_connect_is_connected_at_the_found_one(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("sklearn")
    import rates

    case = rates.CASES["vit"]
    ends = rates.pair("vit", "SGD", 0, tmp_path)
    default, found = (rates.search(case, *ends, lr, 400) for lr in (0.05, None))
    assert found["connected"] and not default["connected"] and found["lr"] < 0.05
