"""Two language models of transformers, trained apart on docstrings: the perplexity of what each way of merging gives.

python benchmarks/hugging_face.py --table benchmarks/results/hugging-face.md

Corpus: docstrings of installed packages. Networks: a GPT-2 and a Llama, two seeds each, saved with ``save_pretrained``
and merged as folders, as ``llpf merge`` does it.
"""

import argparse
import importlib
import inspect
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from provenance import add_table, publish, stamp
from shared import table

from llpf_plugin import LLPF, Compute, Linear, Recipe, SphereCurve, load_task, merge
from llpf_plugin.files import write_text
from llpf_plugin.training import train

PACKAGES = (
    "networkx",
    "numpy",
    "numpy.linalg",
    "scipy.signal",
    "scipy.stats",
    "torch",
    "torch.nn.functional",
    "yaml",
    "json",
)
WORDS, LENGTH, WIDTH = 600, 64, 64
RECIPE = Recipe(epochs=20, optimizer="adamw", lr=3e-3, weight_decay=0.01, schedule="cosine", batch_size=16)
WAYS: dict[str, tuple[Any, str]] = {
    "mean": (Linear(), "never"),
    "aligned mean": (Linear(), "always"),
    "LLPF": (LLPF(), "always"),
    "sphere curve": (SphereCurve(), "always"),
}


def corpus(place: Path, size: int) -> Path:
    """So many characters of docstrings, in a fixed random order."""
    found = {
        d for name in PACKAGES for o in vars(importlib.import_module(name)).values() if callable(o) and (d := _doc(o))
    }
    texts = sorted(found)
    random.Random(0).shuffle(texts)
    return write_text(place, "\n".join(texts)[:size])


def _doc(value: object) -> str:
    text = inspect.getdoc(value) or ""
    return text if len(text) > 100 and text.isascii() else ""


def tokenizer(text: Path) -> Any:
    """Byte pairs, learnt from the corpus."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    made.train([str(text)], trainers.BpeTrainer(vocab_size=WORDS, special_tokens=["[UNK]"], show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


def networks() -> dict[str, Callable[[], Any]]:
    """What makes each network with fresh weights."""
    import transformers as t

    ends = {"vocab_size": WORDS, "bos_token_id": 0, "eos_token_id": 0}
    gpt2 = t.GPT2Config(**ends, n_positions=LENGTH, n_embd=WIDTH, n_layer=2, n_head=4)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
    llama = t.LlamaConfig(**ends, **sizes, num_key_value_heads=2, max_position_embeddings=LENGTH)
    return {"GPT-2": lambda: t.GPT2LMHeadModel(gpt2), "Llama": lambda: t.LlamaForCausalLM(llama)}


def pair(build: Callable[[], Any], words: Any, text: Path, place: Path, epochs: float) -> list[Path]:
    """Two trained networks, as folders."""
    folders = [place / str(seed) for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        if not (folder / "trained").is_file():
            print(f"training {folder}", flush=True)
            torch.manual_seed(seed)
            network = build()
            network.save_pretrained(folder)
            words.save_pretrained(folder)
            task = load_task("hf/causal-lm", {"model": str(folder), "text": str(text), "length": LENGTH})
            network.load_state_dict(train(replace(task, recipe=RECIPE.over(epochs)), seed, Compute("cpu")))
            network.save_pretrained(folder)
            (folder / "trained").touch()
    return folders


def add_training(parser: argparse.ArgumentParser) -> None:
    """The options of `corpus` and `pair`."""
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "llpf-bench" / "hugging-face")
    parser.add_argument("--size", type=int, default=200_000, help="characters of the corpus")
    parser.add_argument("--epochs", type=float, default=RECIPE.epochs)


def main(words: Sequence[str] | None = None) -> int:
    """Train, merge, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_training(parser)
    parser.add_argument("--budget", type=int, default=1000, help="gradient steps of a search")
    add_table(parser)
    given = parser.parse_args(words)
    text = corpus(given.cache / "corpus.txt", given.size)
    made, rows = tokenizer(text), []
    for name, build in networks().items():
        folders = pair(build, made, text, given.cache / name, given.epochs)
        task = load_task("hf/causal-lm", {"model": str(folders[0]), "text": str(text), "length": LENGTH})
        for way, (method, align) in WAYS.items():
            found = merge(folders, task, method, pick="mid", align=align, budget=given.budget, sample=200, points=2)  # type: ignore[arg-type]
            finished = found.pairs[0]
            test = finished.picked.scores["test"]
            ends = [finished.quality.ends[side].test for side in "AB"]
            assert test is not None and None not in ends
            cells = (*(f"{math.exp(loss):.1f}" for loss in (*ends, test.loss)), f"{found.gradient_steps:,}")
            rows.append([f"{name}, {way}", *cells])
            print(rows[-1], flush=True)
    publish(table(["middle of the path", "A", "B", "merged", "gradient steps"], rows), given.table, words, [stamp()])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
