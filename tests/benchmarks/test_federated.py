"""The federated benchmarks, at a tiny size, from their command lines."""

import json
import math
import shlex
from pathlib import Path

import pytest
import torch
from helpers import tiny


def test_federated_curves_are_run_once_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")
    import federated
    import federated_report
    import federation

    monkeypatch.setattr(federation, "load_task", lambda *_: tiny.mlp())
    place, figure = tmp_path / "curves.json", tmp_path / "curves.png"
    words = shlex.split("--seeds 0 --alphas 0.3 --epochs 1 --rounds 2 --clients 3 --starts independent")
    words += ["--json", str(place), "--strategies", "FedAvg", "LLPFStrategy, own served"]
    federated.main(words)
    found = json.loads(place.read_text())
    assert sorted(key.split("|")[4] for key in found) == ["FedAvg", "LLPFStrategy, own served"]
    first = place.read_bytes()
    federated.main(words)
    assert place.read_bytes() == first
    federated_report.main(["--json", str(place), "--figure", str(figure)])
    assert figure.is_file()
    printed = capsys.readouterr().out
    assert (
        "independent, Dirichlet 0.3, 1 local epoch, 2 rounds**" in printed and "| LLPFStrategy, own served |" in printed
    )


def test_a_chosen_first_model_is_compared_with_fresh_weights_and_the_largest_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")
    import federated
    import federated_first
    import federation

    monkeypatch.setattr(federation, "load_task", lambda *_: tiny.mlp())
    place, chosen = tmp_path / "curves.json", "LLPFStrategy, first chosen"
    words = shlex.split(
        "--seeds 0 1 --alphas 0 --epochs 1 --rounds 2 --clients 3 --starts independent --start-epochs 20"
    )
    names = ["FedAvg, fresh weights", "FedAvgM, fresh weights", "FedAvg, largest client first", chosen]
    federated.main([*words, "--json", str(place), "--strategies", *names])
    found = json.loads(place.read_text())
    assert all((run["first"] is not None) == ("chosen" in key) for key, run in found.items())
    federated_first.main(["--json", str(place)])
    printed = capsys.readouterr().out
    assert f"{chosen} − FedAvg, fresh weights" in printed and f"{chosen} − FedAvg, largest client first" in printed
    assert f"{chosen} − FedAvgM" not in printed


def test_gossip_is_run_once_and_tabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")
    import federation
    import gossip

    monkeypatch.setattr(federation, "load_task", lambda *_: tiny.mlp())
    place = tmp_path / "gossip.json"
    words = shlex.split("--seeds 0 --clients 3 --rounds 2 --epochs 1 --topologies ring --averaging plain 'on spheres'")
    for _ in range(2):
        gossip.main([*words, "--json", str(place)])
    plain, spheres = (json.loads(place.read_text())[f"digits/mlp|3|ring|{how}|0"] for how in ("plain", "on spheres"))
    # Three that are averaged with equal weights keep a third of their variance, or all of it.
    assert plain["rounds"][0][2] == pytest.approx(1 / 3, rel=0.3)
    assert spheres["rounds"][0][2] == pytest.approx(1, rel=0.1)
    assert capsys.readouterr().out.count("| 3, ring ") == 4


def test_models_that_clients_send_once_are_joined_once_and_tabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")
    import federated_oneshot
    import federation

    monkeypatch.setattr(federation, "load_task", lambda *_: tiny.mlp())
    place = tmp_path / "oneshot.json"
    words = shlex.split("--seeds 0 --alphas 0 --clients 2 --start-epochs 30 --server 64 --budget 60")
    for _ in range(2):
        federated_oneshot.main([*words, "--json", str(place)])
    (found,) = json.loads(place.read_text())["runs"].values()
    assert 0 < found["steps"] <= 60 and found["OneShotLLPF"] > 0.6
    printed = capsys.readouterr().out
    assert printed.count("| digits/mlp, IID (1 seeds)") == 2 and printed.count("digits/mlp|IID|0") == 1


def test_the_numbers_of_the_federated_tables_by_hand() -> None:
    pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")
    import federated_report as report
    import federation

    reference = {"start": [[0.9, 0], [0.8, 0]], "rounds": [[[0.1, 0], [0.1, 0]], [[0.95, 0], [0.95, 0]]]}
    ours = {"start": [[0.9, 0], [0.8, 0]], "rounds": [[[0.88, 0], [0.85, 0]], [[0.94, 0], [0.95, 0]]]}
    assert report.drop(reference) == pytest.approx(80) and report.drop(ours) == pytest.approx(2)
    assert report.drop(ours, 1) == 0
    assert report.rounds_to(ours, reference) == 2 and report.median_rounds([2, math.inf, 3]) == "3"
    ends_low = {**reference, "rounds": reference["rounds"][:1]}
    assert report.median_rounds([report.rounds_to(ours, ends_low)]) == "–"
    assert report.interval([1.0, 3.0]) == "+2.0 [-10.7, +14.7]"
    parts = federation.dirichlet(torch.arange(10).repeat(40), 4, 0.0, seed=0)
    assert sorted(torch.cat(parts).tolist()) == list(range(400))
    assert min(len(p) for p in federation.dirichlet(torch.arange(10).repeat(40), 8, 0.05, seed=0)) >= federation.BATCH
