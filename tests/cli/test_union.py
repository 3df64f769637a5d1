"""``llpf merge --heads union``: two classifiers with different classes, through the real command."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from helpers import heads
from helpers import hugging_face as hf
from helpers.commands import llpf, merge
from helpers.refusals import USAGE, refused

from llpf_plugin import checkpoint

TASK = f"{heads.__file__}:points"
KNOWN = ("--labels", ",".join(heads.A), "--labels", ",".join(heads.B))
SHORT = ("--budget", 20, "--points", 1, "--device", "cpu")


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return heads.files(tmp_path_factory.mktemp("heads"), heads.A, heads.B)


@pytest.fixture
def asked(places: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.chdir(tmp_path)
    return [*places, "--task", TASK, "--heads", "union", *SHORT]


def test_two_networks_become_one_that_knows_all(asked: list[object], places: list[Path]) -> None:
    result = merge(*asked, *KNOWN, "-o", "run")
    assert result.code == 0 and result.err == "", result.text
    told = json.loads(Path("run/union.json").read_text())
    for row in ("A", "B", "mean", "mean, finetuned", "path point, finetuned", "A, finetuned", "B, finetuned"):
        assert f"  {row} " in result.out
    assert f"best on validation data: {told['chosen']}; it knows 4 classes" in result.out
    assert "merged model: run/merged.pt" in result.out
    assert checkpoint.read("run/merged.pt").weights["5.weight"].shape == (4, 16)
    assert sorted(file.name for file in Path("run").iterdir()) == [
        "config.yaml", "labels.txt", "merged.pt", "union.json",
    ]  # fmt: skip
    Path("b.txt").write_text("grey\n\n green \n")
    again = merge(*asked, "--labels", "blue, red", "--labels", "b.txt", "-o", "again")
    assert again.code == 0 and _same("run/merged.pt", "again/merged.pt")
    document = yaml.safe_load(Path("run/config.yaml").read_text())
    assert document["labels"] == ["blue,red", "grey,green"] and document["heads"] == "union"
    assert llpf("--config", "run/config.yaml", "--trust", "-o", "third").code == 0
    assert _same("run/merged.pt", "third/merged.pt")
    refused(merge(*asked, *KNOWN, "-o", "run"), "merge", "run is not an empty folder")


def _same(one: str, other: str) -> bool:
    a, b = (checkpoint.read(place).weights for place in (one, other))
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def test_what_is_wrong_gets_one_sentence(asked: list[object], places: list[Path]) -> None:
    for words, message in (
        ((), "no labels are known for"),
        (("--labels", "blue,red,red", "--labels", "grey,green"), "name 'red' twice"),
        (("--labels", "blue,red,grey", "--labels", "grey,green"), "has 2 outputs, and 3 labels are given for it"),
        (("--labels", "blue,pink", "--labels", "grey,green"), "the data of 'points' have no class pink"),
        (("--labels", "blue,red", "--labels", "blue,red"), "have classes that no model knows: green, grey"),
    ):
        refused(merge(*asked, *words), "merge", message)
    digits = [*places, "--heads", "union", "--task", "digits/mlp", "-t", "width=8", *SHORT]
    refused(merge(*digits, "--labels", "0,1", "--labels", "2,3"), "merge", "classes that no model knows: 4, 5, 6")
    number = [*places, "--heads", "union", "--task", f"{heads.__file__}:points", "-t", "classes=()", *SHORT]
    refused(merge(*number, *KNOWN), "merge", "names no classes, so that heads cannot be joined: only a classifier has")
    assert not Path("run").exists()


def test_what_makes_no_sense_is_wrong_usage(asked: list[object], places: list[Path]) -> None:
    Path("latin.txt").write_bytes("é".encode("latin-1"))
    for words, message in (
        ((*asked, "--labels", "blue,red"), "--labels must be given once for each model"),
        ((*asked, *KNOWN, places[0]), "--heads union joins two models, and 3 are named"),
        ((*asked, *KNOWN, "--dry-run"), "--dry-run does not go with --heads union"),
        ((*asked, *KNOWN, "--resume"), "--resume does not go with --heads union"),
        ((*asked, *KNOWN, "--tensorboard"), "--tensorboard does not go with --heads union"),
        ((*asked, *KNOWN, "--shard"), "--shard does not go with --heads union"),
        ((*asked, "--labels", "latin.txt", "--labels", "grey,green"), "--labels latin.txt: it is not a text in UTF-8"),
        ((*places, "--task", TASK, *KNOWN), "--labels says what the heads are that --heads union joins"),
        ((*places, "--model", TASK, "--heads", "union"), "--heads union needs data: give --task in place of --model"),
        ((*asked, *KNOWN, "--pick", "worst"), "best, mid, end"),
    ):
        refused(merge(*words), "merge", message, code=USAGE)
    assert not Path("run").exists()


@pytest.mark.parametrize("kind", ["bert", "vit"])
def test_folders_know_their_labels_and_the_result_loads(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    known = {"a": ("cat", "dog"), "b": ("dog", "bird", "fish")}
    places = [hf.classifier(tmp_path / name, kind, labels, seed) for seed, (name, labels) in enumerate(known.items())]
    task = {
        "bert": ("--task", "hf/text-classification", "-t", f"data={hf.sentences(tmp_path / 'd.csv', known)}"),
        "vit": ("--task", "hf/image-classification", "-t", f"images={hf.animals(tmp_path / 'images', known)}"),
    }[kind]
    result = merge(*places, *task, "--heads", "union", *SHORT, "-o", tmp_path / "run")
    assert result.code == 0, result.text
    auto = {"bert": "AutoModelForSequenceClassification", "vit": "AutoModelForImageClassification"}[kind]
    model, told = getattr(transformers, auto).from_pretrained(tmp_path / "run" / "merged", output_loading_info=True)
    assert model.config.id2label == {0: "cat", 1: "dog", 2: "bird", 3: "fish"} and not any(told.values())
    assert model.config.label2id["fish"] == 3 and model.classifier.weight.shape == (4, 16)
    card = (tmp_path / "run" / "merged" / "README.md").read_text()
    assert "It knows 4 classes: cat, dog, bird, fish." in card and "know different classes" in card
