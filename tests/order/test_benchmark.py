"""The benchmark of the order runs, at a small size."""

import importlib.util
import json
import sys
import warnings
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "order.py"


def test_the_benchmark_orders_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    import zoo

    spec = importlib.util.spec_from_file_location("order_benchmark", BENCHMARK)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "zoo", lambda: {f"hard:{name}": build for name, build in zoo.oddities().items()})
    results = tmp_path / "results.jsonl"

    def run(only: str) -> str:
        monkeypatch.setattr(sys, "argv", ["order.py", "--no-timing", "--only", only, "--resume", str(results)])
        with warnings.catch_warnings():
            benchmark.main()
        return capsys.readouterr().out

    assert "1 of 1 models ordered" in run("^hard:gru$")
    printed = run("^hard:(gru|repeated-unused)$")
    assert "2 of 2 models ordered" in printed and "0 with silently missing parameters" in printed
    assert "unused in hard:repeated-unused: unused.weight, unused.bias (2; filled with NaN: same result)" in printed
    assert [json.loads(line)[0] for line in results.read_text().splitlines()] == ["hard:gru", "hard:repeated-unused"]
