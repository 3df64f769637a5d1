"""`benchmarks/alignment.py` on a tiny network, and its language models at a tiny size."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny

from llpf_plugin import Compute, Task, align, load_task
from llpf_plugin.evaluation import train_loss
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace


def test_every_way_is_measured_once_on_the_same_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import alignment

    monkeypatch.setattr(alignment, "NETWORKS", {"tiny, 16": tiny.mlp})
    place = tmp_path / "lines.jsonl"
    words = ["run", "--cache", str(tmp_path), "--lines", str(place), "--table", str(tmp_path / "t.md")]
    alignment.main(words)
    assert capsys.readouterr().out.count(".pt") == 2
    plain, permuted, free = lines = alignment.read(place)
    assert free.way == "all symmetries" and free.distance <= permuted.distance * (1 + 1e-6)
    assert (plain.way, permuted.way) == ("plain", "permutations") and permuted.distance < plain.distance
    assert permuted.losses[-1] == pytest.approx(plain.losses[-1], rel=1e-5) and len(plain.losses) == 11
    assert f"{permuted.barrier:.4f} ({permuted.barrier / plain.barrier:.2f})" in (tmp_path / "t.md").read_text()

    monkeypatch.setattr(alignment, "WAYS", {**alignment.WAYS, "none": lambda a, b, task: align(a, a, task)})
    alignment.main(words)
    assert ".pt" not in capsys.readouterr().out
    *before, new = alignment.read(place)
    assert before == lines and new.way == "none" and new.distance == 0 and new.barrier == pytest.approx(0, abs=1e-6)
    assert all(json.loads(line)["measured"] for line in place.read_text().splitlines())


def test_a_table_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    import alignment

    with pytest.raises(SystemExit, match="run first"):
        alignment.main(["table", "--lines", str(tmp_path / "none.jsonl")])


TINY: dict[str, Any] = {"width": 32, "depth": 1, "size": 100_000}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("gpt2", {}), ("gpt2", {"tied": False}), ("llama", {"hidden": 48})],
    ids=["gpt2", "gpt2-untied", "llama"],
)
def test_language_models_learn_and_are_aligned(name: str, arguments: dict[str, Any]) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    import language

    place = Path(language.__file__)
    task: Task = load_task(f"{place}:{name}", {**TINY, **arguments})
    sizes = [len(split) for split in (task.train, task.validation, task.test) if split is not None]
    assert sizes[0] > 3 * sizes[1] and sizes[1] == sizes[2]
    a, b = (train(task, seed, Compute("cpu"), epochs=4) for seed in (0, 1))
    workspace = Workspace(task, Compute("cpu"))
    before = train_loss(workspace, b, 100)
    assert before < language.unigram_entropy(language.tokens(TINY["size"]))
    aligned = align(a, b, task)
    assert aligned.distance[1] < aligned.distance[0]
    assert train_loss(workspace, aligned.weights, 100) == pytest.approx(before, rel=1e-5)
