"""Folders as ``save_pretrained`` writes them, of tiny networks with what belongs to them, and data for them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

WORDS = [f"w{i}" for i in range(20)]
VOCABULARY = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[MASK]", "[CLS]", "[SEP]", *WORDS])}
SIZES: dict[str, Any] = {
    "vocab_size": len(VOCABULARY), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
    "num_attention_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip


def tokenizer() -> Any:
    """One token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
    }
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def network(kind: str, seed: int) -> Any:
    """A tiny network with fresh weights."""
    import transformers as t

    torch.manual_seed(seed)
    if kind == "gpt2":
        sizes = {"vocab_size": len(VOCABULARY), "n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2}
        return t.GPT2LMHeadModel(t.GPT2Config(**sizes, bos_token_id=3, eos_token_id=4))
    if kind == "llama":
        return t.LlamaForCausalLM(t.LlamaConfig(**SIZES, num_key_value_heads=1))
    if kind == "vit":
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = t.ViTConfig(
            **sizes,
            image_size=8,
            patch_size=4,
            num_channels=3,
            id2label={0: "cat", 1: "dog"},
            label2id={"cat": 0, "dog": 1},
        )
        return t.ViTForImageClassification(config)
    config = t.BertConfig(**SIZES, id2label={0: "even", 1: "odd"}, label2id={"even": 0, "odd": 1})
    return (t.BertForMaskedLM if kind == "bert-mlm" else t.BertForSequenceClassification)(config)


def folder(place: Path, kind: str, seed: int) -> Path:
    """A folder of a tiny network."""
    network(kind, seed).save_pretrained(place)
    if kind == "vit":
        from transformers import ViTImageProcessor

        ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(place)
    else:
        tokenizer().save_pretrained(place)
    return place


def corpus(place: Path, words: int = 1000) -> Path:
    """A text in which each word follows from the one before, mostly."""
    rng = torch.Generator().manual_seed(0)
    steps = torch.where(torch.rand(words, generator=rng) < 0.9, 1, 7).cumsum(0) % len(WORDS)
    place.write_text(" ".join(WORDS[i] for i in steps.tolist()))
    return place


def table(place: Path, rows: int = 60) -> Path:
    """Sentences of different lengths, labelled by the word that they begin with."""
    rng = torch.Generator().manual_seed(0)
    found = []
    for _ in range(rows):
        ids = torch.randint(0, len(WORDS), (int(torch.randint(3, 9, (1,), generator=rng)),), generator=rng).tolist()
        found.append({"text": " ".join(WORDS[i] for i in ids), "label": ("even", "odd")[ids[0] % 2]})
    if place.suffix == ".csv":
        place.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in found))
    else:
        place.write_text("".join(json.dumps(row) + "\n" for row in found))
    return place


def pictures(place: Path, each: int = 15) -> Path:
    """A folder of images of two classes, dark and bright."""
    from PIL import Image

    for name, grey in (("cat", 60), ("dog", 190)):
        (place / name).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (10, 10), (grey + i, grey, grey - i)).save(place / name / f"{i}.png")
    return place


def classifier(place: Path, kind: str, labels: Sequence[str], seed: int) -> Path:
    """A folder of a tiny ``bert`` or ``vit`` that tells these classes apart."""
    import transformers as t

    torch.manual_seed(seed)
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    if kind == "bert":
        t.BertForSequenceClassification(t.BertConfig(**SIZES, **names)).save_pretrained(place)
        tokenizer().save_pretrained(place)
        return place
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = t.ViTConfig(**sizes, image_size=8, patch_size=4, num_channels=3, **names)
    t.ViTForImageClassification(config).save_pretrained(place)
    t.ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(place)
    return place


def _all(known: Mapping[str, Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(label for labels in known.values() for label in labels))


def sentences(place: Path, known: Mapping[str, Sequence[str]], rows: int = 60) -> Path:
    """Sentences whose class is that of their first word."""
    labels, rng = _all(known), torch.Generator().manual_seed(0)
    lines = []
    for _ in range(rows):
        ids = torch.randint(0, len(WORDS), (4,), generator=rng).tolist()
        lines.append(f"{' '.join(WORDS[i] for i in ids)},{labels[ids[0] % len(labels)]}\n")
    place.write_text("text,label\n" + "".join(lines))
    return place


def animals(place: Path, known: Mapping[str, Sequence[str]], each: int = 12) -> Path:
    """A folder of images, a shade of grey for each class."""
    from PIL import Image

    for number, label in enumerate(_all(known)):
        (place / label).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (10, 10), (50 * number + i, 50 * number, 50 * number)).save(place / label / f"{i}.png")
    return place
