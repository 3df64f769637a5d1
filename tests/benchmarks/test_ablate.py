"""LLPF without its parts, as ``benchmarks/ablate.py`` composes it."""

import json
from pathlib import Path

import pytest
from helpers import tiny

from llpf_plugin import Linear, find_path
from llpf_plugin import Path as LossPath


def walked(variant: str, name: str = "conv", **options: float) -> LossPath:
    import ablate

    task = tiny.TASKS[name]()
    return find_path(*tiny.pair(name), task, ablate.variants(task)[variant], **{"max_loss": 0.3, **options})


def phases(path: LossPath) -> list[str]:
    return list(dict.fromkeys(tick.phase for tick in path.record))


@pytest.mark.parametrize(("forward", "backward"), [("whole", "reversed stages"), ("layers", "reversed layers")])
def test_a_reversed_order_walks_from_the_output(forward: str, backward: str) -> None:
    names = phases(walked(forward))
    assert len(names) == 3 and phases(walked(backward)) == names[::-1]


def test_without_settling_a_walk_is_the_line_projected_on_the_spheres() -> None:
    path = walked("no settling", "mlp")
    straight = find_path(*tiny.pair("mlp"), tiny.mlp(), Linear(), max_loss=0.3)
    assert all(tick.steps == 1 and tick.kept for tick in path.record)
    assert path.cost.repairs == 0 and path.quality.maximum > 0.5 * straight.quality.maximum
    whole = walked("whole", "mlp")
    assert path.quality.maximum > whole.quality.maximum and whole.quality.connected


def test_without_spheres_the_variance_falls_on_the_way() -> None:
    from llpf_plugin.geometry import variance

    name = "conv2.weight"
    on, off = (min(variance(knot[name]) for knot in walked(v).knots[1:-1]) for v in ("whole", "no spheres"))
    assert off < on


def test_the_parts_are_left_out_on_every_pair_once_and_tabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ablate
    import pairs

    monkeypatch.setattr(pairs, "load_task", lambda *_: tiny.mlp())
    monkeypatch.setitem(pairs.BENCHES, "digits/mlp", pairs.Bench({}, 1, max_loss=0.15, target=200, budget=400))
    words = ["--task", "digits/mlp", "--cache", str(tmp_path), "--json", str(tmp_path / "r.json")]
    ablate.main([*words, "--table", str(tmp_path / "t.md")])
    assert "pair 0, no settling:" in capsys.readouterr().out
    ablate.main(words)
    assert "pair 0, no settling:" not in capsys.readouterr().out
    results = json.loads((tmp_path / "r.json").read_text())["results"]
    assert [r["method"] for r in results] == list(ablate.METHODS)
    first, _, *lines = (tmp_path / "t.md").read_text().splitlines()
    assert "--json" in first and "--table" not in first and ": commit " in first and "torch " in first
    assert lines[0] == "digits/mlp, maximum to reach: 0.15" and sum(line.startswith("| whole") for line in lines) == 2
