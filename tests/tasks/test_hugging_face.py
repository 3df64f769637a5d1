"""Tasks for folders of transformers: their loss is that of transformers, and bad input is one sentence."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import hugging_face as hf

from llpf_plugin import load_task
from llpf_plugin.errors import TaskError
from llpf_plugin.evaluation import score
from llpf_plugin.order import layer_order
from llpf_plugin.workspace import Workspace

pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

KINDS = {
    "hf/causal-lm": ("gpt2", "text"),
    "hf/masked-lm": ("bert-mlm", "text"),
    "hf/text-classification": ("bert", "data"),
    "hf/image-classification": ("vit", "images"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hf")
    for kind in ("gpt2", "llama", "bert-mlm", "bert", "vit"):
        hf.folder(root / kind, kind, 0)
    hf.corpus(root / "text.txt")
    hf.table(root / "data.csv")
    hf.table(root / "data.jsonl")
    hf.pictures(root / "images")
    return root


def arguments(place: Path, name: str, **more: Any) -> dict[str, Any]:
    kind, key = KINDS[name]
    data = {"text": "text.txt", "data": "data.csv", "images": "images"}[key]
    sizes = {"length": 16} if key != "images" else {}
    return {"model": str(place / kind), key: str(place / data), **sizes, **more}


@pytest.mark.parametrize("name", KINDS)
def test_a_task_is_built_from_a_folder(place: Path, name: str) -> None:
    task = load_task(name, arguments(place, name))
    assert task.validation is not None and task.test is not None and task.name == name
    workspace = Workspace(task)
    found = score(workspace, task.train)
    assert 0 < found.loss < 10 and (found.accuracy is None) == name.endswith("-lm")
    workspace.backward(workspace.loss())
    assert layer_order(task.model, task.example_inputs()).layers


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_loss_of_a_language_model_is_that_of_the_trainer(place: Path, kind: str) -> None:
    from transformers import AutoModelForCausalLM, DataCollatorForLanguageModeling

    task = load_task("hf/causal-lm", arguments(place, "hf/causal-lm", model=str(place / kind)))
    model = AutoModelForCausalLM.from_pretrained(place / kind).eval()
    task.model.load_state_dict(model.state_dict())
    batch = next(task.train.batches(8))
    theirs = DataCollatorForLanguageModeling(hf.tokenizer(), mlm=False)([{"input_ids": row} for row in batch[0]])
    task.model.eval()
    assert task.score(batch)[0].item() == pytest.approx(model(**theirs).loss.item(), abs=1e-6)


def test_padding_counts_for_nothing(place: Path) -> None:
    from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding

    task = load_task("hf/text-classification", arguments(place, "hf/text-classification"))
    model = AutoModelForSequenceClassification.from_pretrained(place / "bert").eval()
    task.model.load_state_dict(model.state_dict())
    task.model.eval()
    inputs, labels = next(task.train.batches(8))
    tokenizer = hf.tokenizer()
    lines = [tokenizer.decode(row[mask.bool()]) for row, mask in zip(inputs[:, 0], inputs[:, 1], strict=True)]
    features = [{**tokenizer(line), "labels": int(label)} for line, label in zip(lines, labels, strict=True)]
    theirs = DataCollatorWithPadding(tokenizer)(features)
    assert inputs.shape[-1] > theirs["input_ids"].shape[1] or len(set(map(len, lines))) > 1
    loss, correct = task.score((inputs, labels))
    answer = model(**theirs)
    assert loss.item() == pytest.approx(answer.loss.item(), abs=1e-6)
    assert correct is not None and int(correct) == int((answer.logits.argmax(-1) == theirs["labels"]).sum())
    single = [task.score((inputs[i : i + 1], labels[i : i + 1]))[0].item() for i in range(8)]
    assert sum(single) / 8 == pytest.approx(loss.item(), abs=1e-6)


def test_masked_tokens_alone_count_and_are_always_the_same(place: Path) -> None:
    task, again = (load_task("hf/masked-lm", arguments(place, "hf/masked-lm")) for _ in range(2))
    inputs, labels = next(task.train.batches(20))
    other = next(again.train.batches(20))
    assert torch.equal(inputs, other[0]) and torch.equal(labels, other[1])
    counted = labels != -100
    assert (counted.sum(1) == round(0.15 * 16)).all()
    assert 0.5 < (inputs[counted] == hf.VOCABULARY["[MASK]"]).float().mean() < 1
    task.model.eval()
    theirs = task.model(input_ids=inputs, labels=labels).loss
    logits = task.model(input_ids=inputs).logits
    assert theirs.item() == pytest.approx(
        torch.nn.functional.cross_entropy(logits[counted], labels[counted]).item(), abs=1e-6
    )
    assert task.score((inputs, labels))[0].item() == pytest.approx(theirs.item(), abs=1e-6)


def test_images_go_through_the_processor_of_the_folder(place: Path) -> None:
    task = load_task("hf/image-classification", arguments(place, "hf/image-classification"))
    inputs, labels = next(task.train.batches(30))
    assert inputs.shape[1:] == (3, 8, 8) and set(labels.tolist()) == {0, 1}
    assert (inputs[labels == 0].mean() < 0) and (inputs[labels == 1].mean() > 0), "standardised; cats are dark"


@pytest.mark.parametrize("name", KINDS)
def test_activations_that_are_computed_again_give_the_same_gradient(place: Path, name: str) -> None:
    plain, again = (Workspace(load_task(name, arguments(place, name, checkpointing=on))) for on in (False, True))
    again.model.load_state_dict(plain.model.state_dict())
    asked = []
    for module in again.model.modules():
        module.register_forward_hook(lambda *_: asked.append(torch.is_grad_enabled()))
    for workspace in (plain, again):
        workspace.backward(workspace.loss())
    for one, other in zip(plain.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad) if one.grad is not None else other.grad is None
    assert len(asked) > len(list(again.model.modules()))


def test_a_folder_of_datasets_is_the_same_data_by_the_names_of_its_labels(place: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the datasets library is not installed")
    rows = [json.loads(line) for line in hf.table(tmp_path / "data.jsonl").read_text().splitlines()]
    names = ["odd", "even"]  # in another order than the network has them
    kinds = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    saved = datasets.Dataset.from_list([{**r, "label": names.index(r["label"])} for r in rows], features=kinds)
    datasets.DatasetDict({"train": saved, "test": saved.select([0])}).save_to_disk(str(tmp_path / "saved"))
    ours, theirs = (
        load_task("hf/text-classification", {"model": str(place / "bert"), "data": str(tmp_path / name)})
        for name in ("data.jsonl", "saved")
    )
    for one, other in zip(ours.train.batches(8), theirs.train.batches(8), strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_a_folder_of_datasets_without_the_library(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(TaskError, match="to read what datasets has saved, pip install datasets"):
        load_task("hf/text-classification", {"model": str(place / "bert"), "data": str(tmp_path)})


def test_json_lines_are_the_same_data(place: Path) -> None:
    one, other = (
        load_task("hf/text-classification", arguments(place, "hf/text-classification", data=str(place / file)))
        for file in ("data.csv", "data.jsonl")
    )
    assert all(
        torch.equal(x, y) for x, y in zip(next(one.train.batches(99)), next(other.train.batches(99)), strict=True)
    )


def refused(name: str, words: str, **given: Any) -> None:
    with pytest.raises(TaskError, match=words):
        load_task(name, given)


def test_a_folder_that_says_too_little_is_refused(place: Path, tmp_path: Path) -> None:
    text = str(place / "text.txt")
    refused("hf/causal-lm", "give -t model=FOLDER", text=text)
    refused("hf/causal-lm", "has no config.json", model=str(tmp_path), text=text)
    for config, words in (
        ("{", "config.json is not JSON"),
        ('{"model_type": "gpt9"}', "knows no model type 'gpt9'"),
        ('{"model_type": "gpt2", "auto_map": {}}', r"names code of its own \(auto_map\)"),
    ):
        (tmp_path / "config.json").write_text(config)
        refused("hf/causal-lm", words, model=str(tmp_path), text=text)
    refused("hf/image-classification", "transformers has no gpt2", model=str(place / "gpt2"), images="x")
    (tmp_path / "config.json").write_text((place / "gpt2" / "config.json").read_text())
    refused("hf/causal-lm", "tokenizer", model=str(tmp_path), text=text)
    (tmp_path / "config.json").write_text((place / "vit" / "config.json").read_text())
    refused("hf/image-classification", "no preprocessor_config.json", model=str(tmp_path), images=str(place / "images"))


def test_bad_text_is_refused(place: Path, tmp_path: Path) -> None:
    model, short = str(place / "gpt2"), tmp_path / "short.txt"
    refused("hf/causal-lm", "needs data: give -t text=FILE", model=model)
    refused("hf/causal-lm", "text = none.txt: there is no such file", model=model, text="none.txt")
    for text in ("", "w1 w2"):
        short.write_text(text)
        refused("hf/causal-lm", "too short: 160 make ten blocks of 16", model=model, text=str(short), length=16)
    short.write_bytes(bytes(range(128, 200)))
    refused("hf/causal-lm", "not a text in UTF-8", model=model, text=str(short))
    refused(
        "hf/causal-lm", r"length = 99: .* takes 2 to 32 tokens", model=model, text=str(place / "text.txt"), length=99
    )
    refused("hf/masked-lm", "transformers has no gpt2 for hf/masked-lm", model=model, text=str(place / "text.txt"))


def test_bad_tables_and_images_are_refused(place: Path, tmp_path: Path) -> None:
    model, data = str(place / "bert"), tmp_path / "data.csv"
    data.write_text("sentence,label\nw1,even\n")
    refused("hf/text-classification", "has no column 'text'; it has 'sentence', 'label'", model=model, data=str(data))
    data.write_text("text,label\n" + "w1,even\n" * 4 + "w2,blue\n")
    words = "row 5: the head of .* has no label 'blue'; it has 'even', 'odd'"
    refused("hf/text-classification", words, model=model, data=str(data))
    data.write_text("text,label\nw1,even\n")
    refused("hf/text-classification", "1 examples, which are too few", model=model, data=str(data))
    (tmp_path / "data.jsonl").write_text("[1]\n")
    refused("hf/text-classification", "one JSON object a line", model=model, data=str(tmp_path / "data.jsonl"))
    vit = str(place / "vit")
    refused("hf/image-classification", "no folder with one folder of images", model=vit, images=str(tmp_path))
    hf.pictures(tmp_path / "more")
    (tmp_path / "more" / "dog").rename(tmp_path / "more" / "bird")
    refused(
        "hf/image-classification", "has no label 'bird'; it has 'cat', 'dog'", model=vit, images=str(tmp_path / "more")
    )
    (tmp_path / "more" / "bird" / "1.png").write_bytes(b"no image")
    (tmp_path / "more" / "bird").rename(tmp_path / "more" / "dog")
    refused("hf/image-classification", "reading the images of .* failed", model=vit, images=str(tmp_path / "more"))


def test_a_tokenizer_of_another_network_is_refused(place: Path, tmp_path: Path) -> None:
    hf.folder(tmp_path, "gpt2", 0)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 10}))
    words = "the embedding has 10 rows: they do not belong together"
    refused("hf/causal-lm", words, model=str(tmp_path), text=str(place / "text.txt"), length=16)


def test_a_head_for_other_classes(place: Path) -> None:
    """Classes are those of the configuration, unless the task is told which."""
    arguments = {"model": str(place / "vit"), "images": str(place / "images")}
    assert load_task("hf/image-classification", arguments).classes == ("cat", "dog")
    for labels in ("bird,dog,cat", ["bird", "dog", "cat"]):
        task = load_task("hf/image-classification", {**arguments, "labels": labels})
        assert task.classes == ("bird", "dog", "cat") and task.model.classifier.out_features == 3
        assert set(task.train.batch(20, 0, 0)[1].tolist()) == {1, 2}
    text = {"model": str(place / "gpt2"), "text": str(place / "text.txt"), "length": 16}
    assert load_task("hf/causal-lm", text).classes == ()
