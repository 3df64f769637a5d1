"""The benchmarks of paths between pairs, at a tiny size, from their command lines."""

import json
import math
from pathlib import Path

import pytest
from helpers import tiny


def test_pairs_are_trained_once_joined_and_summarised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import connect
    import pairs

    methods = ["fixed, all at once", "adaptive, all at once"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "load_task", lambda *_: tiny.mlp())
        patch.setitem(pairs.BENCHES, "digits/resnet", pairs.Bench({}, 1, max_loss=0.15, target=200, budget=400))
        arguments = ["--cache", str(tmp_path), "--json", str(tmp_path / "r.json"), "--methods", *methods]
        connect.main(arguments)
        assert "training digits_resnet_0.pt" in capsys.readouterr().out
        connect.main(arguments)
    printed = capsys.readouterr().out
    assert "training digits" not in printed
    results = json.loads((tmp_path / "r.json").read_text())["results"]
    assert [r["method"] for r in results] == methods
    assert all(0 < r["steps"] <= 400 and r["ratio"] >= 1 for r in results)
    assert results[1]["maximum"] <= 0.15 < results[1]["line"]
    assert f"{results[1]['maximum']:.4f}; {results[1]['maximum']:.4f}" in printed


def test_pairs_across_spheres_have_twice_the_maximum_of_a_same_sphere_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import spheres

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spheres, "load_task", lambda *_: tiny.mlp())
        patch.setitem(spheres.BENCHES, "digits/resnet", spheres.Bench({}, max_loss=0.15, budget=400))
        patch.setitem(spheres.KINDS, "5e-3 / 0", (0.02, 0.0))
        words = ["pairs", "--pairs", "1", "--kinds", "5e-3 / 0", "--methods", "across", "plain M2M"]
        spheres.main([*words, "--cache", str(tmp_path), "--json", str(tmp_path / "r.json")])
        printed = capsys.readouterr().out
        patch.setattr(spheres, "connect", None)  # nothing is searched twice
        spheres.main([*words, "--cache", str(tmp_path), "--json", str(tmp_path / "r.json")])
        assert capsys.readouterr().out.strip() in printed
    found = json.loads((tmp_path / "r.json").read_text())
    same, across, plain = found["results"]
    assert found["goals"]["5e-3 / 0"] == 2 * same["maximum"] and not same["legs"]
    assert [leg["leg"] for leg in across["legs"]] == ["A′ → B′", "B′ → B"] and not plain["legs"]
    assert across["ratios"][1] > 1.25
    assert f"A′→B′ {across['legs'][0]['maximum']:.3f}" in printed


def test_limits_are_tabled_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import limits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "load_task", lambda *_: tiny.mlp())
        for name, value in (
            ("TASKS", {"tiny": "0.weight"}),
            ("DECAYS", (0.0, 0.05)),
            ("BUDGET", 60),
            ("DIRECTIONS", 1),
        ):
            patch.setattr(limits, name, value)
        limits.limits(tmp_path, 1, tmp_path / "figure.png", tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    walk, trained = found["descents"]["tiny"]["walk"], found["descents"]["tiny"]["trained"]
    assert walk[-1][0] < walk[0][0] == pytest.approx(trained[0][1], rel=1e-5) and trained[1][1] < trained[0][1]
    assert all(losses[-1] > losses[0] > 0 for losses in found["profiles"].values())
    assert "sharp pair" in capsys.readouterr().out
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_frontier_is_run_once_and_summarised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import peers

    where = ["--cache", str(tmp_path), "--json", str(tmp_path / "peers.json"), "--pairs", "2"]
    methods = ["--methods", "LLPF", "sphere curve"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "load_task", lambda *_: tiny.mlp())
        patch.setattr(peers, "TUNING", (0, 1))
        bench = peers.Bench({}, 2, (32, 45, 64), (0.2, 0.15), 64, (0.2, 0.15), tuned=(8,))
        patch.setitem(peers.BENCHES, "digits/resnet", bench)
        peers.main([*where, *methods])
        assert "pair 1, sphere curve, 32:" in capsys.readouterr().out
        peers.main([*where, *methods])
        printed = capsys.readouterr().out
        peers.main([*where, "--tune", "--methods", "Bezier (FGE)"])
    assert "× 2" in capsys.readouterr().out
    assert "pair 1," not in printed and "(2/2)" in printed and "2 pairs" in printed
    runs = json.loads((tmp_path / "peers.json").read_text())["runs"]
    assert {r["method"] for r in runs} == {"LLPF", "sphere curve"} and all(r["steps"] <= 64 for r in runs)


def test_intervals_of_ratios_by_hand() -> None:
    import frontier

    assert frontier.interval([]) == "–" and frontier.interval([math.log(2)]) == "2.00 (1 pair)"
    # Two logarithms 0 and 2·log 2: mean log 2, standard error log 2, Student's t 12.706 at one degree of freedom.
    half = 12.706204736 * math.log(2)
    expected = f"2.00 [{math.exp(math.log(2) - half):.2f}, {math.exp(math.log(2) + half):.2f}], 2 pairs"
    assert frontier.interval([0.0, 2 * math.log(2)]) == expected


def test_weight_matching_is_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import matching

    monkeypatch.setattr(matching, "mnist_mlp", lambda width, subset: tiny.mlp())
    matching.main(["--widths", "16", "--epochs", "10"])
    cells = capsys.readouterr().out.splitlines()[-1].split("|")
    plain, calibrated, aligned, both = map(float, cells[3:7])
    assert aligned <= plain and both <= calibrated and calibrated < plain and float(cells[7]) < 1


def test_what_repair_makes_of_an_average_is_tabled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import averages

    monkeypatch.setattr(averages, "NETWORKS", {"tiny/mlp": tiny.mlp, "tiny/conv": tiny.conv})
    averages.main(["--pairs", "2", "--cache", str(tmp_path), "--table", str(tmp_path / "table.md")])
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out
    cells = [line.split("|")[1:-1] for line in (tmp_path / "table.md").read_text().splitlines() if "tiny/" in line]
    held = {name.strip(): values for name, *values in cells}
    assert len(held) == 10 and float(held["tiny/mlp: aligned, REPAIR"][0]) < float(held["tiny/mlp: aligned"][0])
    assert held["tiny/conv: aligned, REPAIR"] == held["tiny/conv: aligned"]  # BatchNorm is re-estimated anyway
    assert all(float(values[1]) <= float(values[0]) for values in held.values())
