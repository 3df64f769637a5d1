"""Folders that ``save_pretrained`` wrote, changed: configuration, tokenizer, image processor, weights."""

import json
import shutil
from pathlib import Path
from random import Random

from helpers import hugging_face as hf

from fuzz import mutate

KINDS = {
    "gpt2": ("hf/causal-lm", "text", "text.txt"),
    "llama": ("hf/causal-lm", "text", "text.txt"),
    "bert-mlm": ("hf/masked-lm", "text", "text.txt"),
    "bert": ("hf/text-classification", "data", "data.csv"),
    "vit": ("hf/image-classification", "images", "images"),
}
"""Task, and the argument and the name of its data, of each kind of network."""

HUGE = (10**9, 10**6, 2**40, -5, 0, 1, [10**9, 10**9], "10", 1.5, None)
"""Sizes that somebody may write who wants the reader's memory or time."""

IMPORTED = (
    "transformers.models.gpt2.modeling_gpt2", "transformers.models.llama.modeling_llama", "llpf_cli.check",
    "transformers.models.bert.modeling_bert", "transformers.models.vit.modeling_vit", "transformers.masking_utils",
    "transformers.models.vit.image_processing_vit", "llpf_plugin.tasks.hugging_face.factories",
)  # fmt: skip
"""What the commands import, so that the forks have it."""


def base(place: Path) -> None:
    """A pair of each kind, and data."""
    for kind in KINDS:
        for seed, name in enumerate("ab"):
            hf.folder(place / f"{kind}-{name}", kind, seed)
    hf.corpus(place / "text.txt", 400)
    hf.table(place / "data.csv", 40)
    hf.pictures(place / "images", 6)


def change(random: Random, folder: Path) -> None:
    """Change a file or two; half of the time a size that the configuration states."""
    for _ in range(random.choice((1, 1, 2))):
        place = random.choice([folder / "config.json", *(p for p in sorted(folder.iterdir()) if p.suffix != ".md")])
        try:
            document = json.loads(place.read_text()) if place.suffix == ".json" and random.random() < 0.9 else None
        except ValueError:  # an earlier change
            document = None
        if document is None:
            place.write_bytes(mutate.bytes_of(random, place.read_bytes()))
            continue
        if (sizes := mutate.whole_numbers(document)) and random.random() < 0.5:
            holder, key = random.choice(sizes)
            holder[key] = random.choice(HUGE)
        else:
            document = mutate.document_of(random, document)
        place.write_text(mutate.text_of(document))


def words(seed: int, base: Path, folder: Path) -> list[object]:
    """The command of a number, on a pair whose first folder, or both alike, are changed."""
    random = Random(seed)
    kind = random.choice(list(KINDS))
    for name in "ab":
        shutil.copytree(base / f"{kind}-{name}", folder / name)
    state = random.getstate()
    change(random, folder / "a")
    if random.random() < 0.7:
        again = Random()
        again.setstate(state)
        change(again, folder / "b")
    task, key, data = KINDS[kind]
    asked = ["--task", task, "-t", f"{key}={base / data}", "--device", "cpu"]
    lines: tuple[list[object], ...] = (
        [
            "merge",
            folder / "a",
            folder / "b",
            *asked,
            "--budget",
            3,
            "--points",
            1,
            "--tolerance",
            9,
            "--no-report",
            "-o",
            folder / "run",
        ],
        ["check", folder / "a", folder / "b", *asked],
        ["order", f"hf:{folder / 'a'}"],
    )
    return random.choice((lines[0], *lines))
