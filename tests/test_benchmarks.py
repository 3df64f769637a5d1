"""The benchmarks run, at a tiny size, from their command lines."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from helpers import tiny

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def has_cifar10() -> bool:
    return (Path(os.environ.get("LLPF_DATA", "")) / "cifar-10-batches-py").is_dir()


@pytest.mark.parametrize(
    "images",
    [
        "random",
        pytest.param(
            "cifar10",
            marks=[pytest.mark.slow, pytest.mark.skipif(not has_cifar10(), reason="LLPF_DATA has no CIFAR-10")],
        ),
    ],
)
def test_two_resnet18_are_trained_joined_and_reported(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu_resnet18

    shared = ["--folder", str(tmp_path), "--device", "cpu", "--precision", "float32"]
    shared += ["--width", "4", "--subset", "128", "--batch-size", "32", *(["--random"] * (images == "random"))]

    def run(*command: str) -> str:
        gpu_resnet18.main([*shared, *command])
        return capsys.readouterr().out

    for seed in ("0", "1"):
        run("train", "--seed", seed, "--epochs", "2")
    assert "is there already" in run("train", "--seed", "1")
    run("bare", "--steps", "2", "--warm-up", "1")
    walk = ["--max-loss", "4", "--sample", "64", "--budget", "10"]
    assert "to go on" in run("connect", "--pace", "adaptive", *walk, "--minutes", "0")
    assert "low loss:" in run("connect", "--pace", "adaptive", *walk)
    assert "holds a finished path" in run("connect", "--pace", "adaptive", *walk)
    run("connect", "--pace", "fixed", *walk)
    sessions = json.loads((tmp_path / "adaptive-sessions.json").read_text())["sessions"]
    finished = json.loads((tmp_path / "adaptive.json").read_text())
    assert len(sessions) == 2 and sum(s["steps"] for s in sessions) <= finished["steps"] <= 10
    lines = run("report").splitlines()
    assert [line.split("|")[1].strip() for line in lines[-2:]] == ["adaptive", "fixed"]


def test_a_tick_is_timed_and_its_memory_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import tick

    monkeypatch.setattr(tick, "resnet18", lambda width: tick.random_resnet18(width, n=8))
    tick.main(["--device", "cpu", "--width", "8", "--batch-size", "2", "--turns", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| ResNet18", "| digits"))]
    assert len(rows) == 4
    added = [float(row.split("+")[1].split("×")[0]) for row in rows[2:]]
    assert all(1.9 < a <= 2.5 for a in added)  # the destination, the copy to undo a move, and a difference


def test_the_literal_tick_is_the_tick_that_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    import tick

    case = tick.cases(2, 8)[1]
    gradient = tick.Gradient(case.task(), tick.Compute("cpu"), batch_size=case.batch_size)
    finder, walk, state = tick.walk_of(case, gradient, case.steps)
    literal = tick.LiteralTick(walk)
    monkeypatch.setattr(tick.low_loss, "settle", lambda *_: tick.DONE)
    for _ in range(3):
        literal()
        state = finder.step(walk, state).state
    reached = tick.coordinates(literal.model)
    assert all(torch.allclose(walk.weights[k], t, atol=1e-6) for k, t in reached.items())
    assert any(not torch.equal(walk.weights[k], walk.destination[k]) for k in reached)


def test_pairs_are_trained_once_joined_and_summarised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import connect

    methods = ["fixed, all at once", "adaptive, all at once"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connect, "load_task", lambda *_: tiny.mlp())
        patch.setitem(connect.BENCHES, "digits/resnet", connect.Bench({}, 1, max_loss=0.15, target=200, budget=400))
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


def test_federated_curves_are_run_once_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")
    import federated
    import federated_report
    import federation

    monkeypatch.setattr(federation, "load_task", lambda *_: tiny.mlp())
    place, figure = tmp_path / "curves.json", tmp_path / "curves.png"
    options = {
        "--json": str(place),
        "--seeds": "0",
        "--alphas": "0.3",
        "--epochs": "1",
        "--rounds": "2",
        "--clients": "3",
    }
    shared = [word for pair in options.items() for word in pair]
    strategies = ["--starts", "independent", "--strategies", "FedAvg", "LLPFWalk"]
    monkeypatch.setattr("sys.argv", ["federated.py", *shared, *strategies])
    federated.main()
    found = json.loads(place.read_text())
    assert sorted(key.split("|")[4] for key in found) == ["FedAvg", "LLPFWalk"]
    first = place.read_bytes()
    federated.main()
    assert place.read_bytes() == first
    monkeypatch.setattr("sys.argv", ["federated_report.py", "--json", str(place), "--figure", str(figure)])
    federated_report.main()
    assert figure.is_file()
    printed = capsys.readouterr().out
    assert "independent, Dirichlet 0.3, 1 local epoch, 2 rounds**" in printed and "| LLPFWalk |" in printed


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
    assert float(cells[4]) <= float(cells[3]) and float(cells[5]) < 1


def test_merges_of_networks_trained_apart_are_run_once_and_tabled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import usefulness

    place = tmp_path / "r.json"
    words = ["--cache", str(tmp_path), "--json", str(place)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usefulness, "load_task", lambda *_: tiny.mlp())
        patch.setitem(
            usefulness.BENCHES, "digits/resnet", usefulness.Bench({}, 2, steps=30, low={"classes": 0.2, "halves": 0.2})
        )
        usefulness.main([*words, "--splits", "classes"])
        assert "training apart_tiny_mlp_classes_1b.pt" in capsys.readouterr().out
        usefulness.main([*words, "--splits", "classes"])
        printed = capsys.readouterr().out
        usefulness.main([*words[:3], str(tmp_path / "t.json"), "--splits", "halves", "--tune", "--pairs", "1"])
    results = json.loads(place.read_text())["results"]
    test = {(r["method"], r["pair"]): r["scores"]["test"] for r in results}
    assert all(r["steps"] <= 30 for r in results)
    # An end that has never seen some classes cannot answer for them; the others can.
    assert test["A", 0] + test["B", 0] <= 1 and test["trained on all data", 0] > 0.9
    ours, tuned = usefulness.OURS["classes"]
    assert min(test[ours, 0], test[tuned, 0]) > max(test["A", 0], test["B", 0])
    row = next(line for line in printed.splitlines() if line.startswith("| finetune A"))
    gap = 50 * sum(test[ours, p] - test["finetune A", p] for p in (0, 1))
    assert f"{gap:+.2f} [" in row and "training" not in printed
    assert "validation loss" in capsys.readouterr().out
    tried = json.loads((tmp_path / "t.json").read_text())["results"]
    assert all("test" not in r["scores"] for r in tried) and {r["pair"] for r in tried} == {100}


def test_the_parts_of_networks_trained_apart_are_disjoint_and_whole() -> None:
    import apart

    targets = torch.arange(10).repeat(7)
    for split in apart.SPLITS:
        a, b = apart.parts(targets, split, seed=3)
        assert sorted(torch.cat([a, b]).tolist()) == list(range(70)) and len(a) == len(b) == 35
    seen = [set(targets[part].tolist()) for part in apart.parts(targets, "classes", seed=3)]
    assert len(seen[0]) == len(seen[1]) == 5 and not seen[0] & seen[1]


def test_an_ensemble_of_merges_averages_probabilities() -> None:
    import merges

    from llpf_plugin.geometry.weights import select

    task = tiny.mlp()
    a, b = (select(w, list(w)) for w in tiny.pair("mlp"))
    case = merges.Case(task, a, b, (task.train, task.train), task.train, steps=0, seed=0)
    data = {"validation": task.validation}
    alone = [merges.scores(case, merges.Merge([w]), data) for w in (a, b)]
    both, twice = (merges.scores(case, merges.Merge(ws), data) for ws in ([a, b], [a, a]))
    assert twice == pytest.approx(alone[0])
    # The mean of two probabilities has a lower loss than the mean of the two losses (Jensen).
    assert both["validation_loss"] < (alone[0]["validation_loss"] + alone[1]["validation_loss"]) / 2
