"""What merges are good for, at a tiny size, from the command line."""

import json
from pathlib import Path

import pytest
import torch
from helpers import tiny


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
