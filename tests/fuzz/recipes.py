"""Recipes of mergekit, changed."""

import sys
from pathlib import Path
from random import Random
from typing import Any

import yaml
from helpers import hugging_face as hf

from fuzz import mutate
from fuzz.documents import yaml_text
from llpf_plugin.errors import LLPFError

METHODS = ("llpf_aligned", "llpf_aligned", "llpf_sphere", "llpf_aligned_linear", "linear", "slerp", "llpf_aligned_x")


def base(place: Path) -> None:
    """Two models."""
    for seed, name in enumerate("ab"):
        hf.folder(place / name, "llama", seed)


def recipe(models: Path) -> dict[str, Any]:
    """One that is done."""
    entries = [{"model": str(models / name), "parameters": {"weight": 0.5}} for name in "ab"]
    return {"merge_method": "llpf_aligned", "base_model": str(models / "a"), "models": entries, "dtype": "float32"}


def written(seed: int, models: Path, place: Path) -> None:
    """The recipe of a number; any name of a model that it makes up is one of a folder that is not there."""
    random = Random(seed)
    document = recipe(models) | {"merge_method": random.choice(METHODS)}
    text = (
        yaml_text(random, document) if random.random() < 0.8 else yaml.safe_dump(mutate.document_of(random, document))
    )
    place.write_bytes(text.encode("utf-8", "surrogatepass"))


def use(place: Path) -> None:
    """Merge by it, as the console script does."""
    from llpf_mergekit.app import run

    sys.argv = ["llpf-mergekit-yaml", str(place), str(place.with_name("out")), "--quiet"]
    try:
        run()
    except SystemExit as stop:
        if stop.code:
            raise LLPFError(f"exit {stop.code}") from stop
