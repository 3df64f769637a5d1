"""Two language models, trained apart, merged by recipes of mergekit: the perplexity of what comes out of each.

python benchmarks/mergekit_recipes.py --table benchmarks/results/mergekit.md

Corpus and networks are those of ``hugging_face.py``; every recipe runs through ``llpf-mergekit-yaml``.
"""

import argparse
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hugging_face import LENGTH, add_training, corpus, networks, pair, tokenizer
from provenance import add_table, publish, stamp
from shared import table

from llpf_plugin import Compute, load_task
from llpf_plugin.evaluation import evaluate
from llpf_plugin.merging import Source
from llpf_plugin.workspace import Workspace

RECIPES: dict[str, dict[str, Any]] = {
    "linear": {"parameters": {"weight": 1}},
    "slerp": {"parameters": {"t": 0.5}},
    "llpf_sphere": {},
    "llpf_aligned": {},
    "llpf_aligned_linear": {"parameters": {"weight": 1}},
}


def perplexity(workspace: Workspace, folder: Path) -> str:
    """Of a folder, on the held-out text."""
    weights = dict(Source.of(folder, network=workspace.model).weights)
    assert workspace.task.test is not None
    (scores, *_) = evaluate(workspace, weights, {"test": workspace.task.test})
    score = scores["test"]
    assert score is not None
    return f"{math.exp(score.loss):.1f}"


def merged(method: str, folders: Sequence[Path], place: Path) -> Path:
    """What a recipe makes of the two models."""
    recipe, out = place / f"{method}.yml", place / method
    models = [{"model": str(folder)} for folder in folders]
    document = {"merge_method": method, "base_model": str(folders[0]), "models": models, **RECIPES[method]}
    recipe.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-c", "from llpf_mergekit.command import run; run()", str(recipe), str(out), "--quiet"]
    subprocess.run(command, check=True)
    return out


def main(words: Sequence[str] | None = None) -> int:
    """Train, merge, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_training(parser)
    add_table(parser)
    given = parser.parse_args(words)
    text = corpus(given.cache / "corpus.txt", given.size)
    made, rows = tokenizer(text), []
    for name, build in networks().items():
        folders = pair(build, made, text, given.cache / name, given.epochs)
        task = load_task("hf/causal-lm", {"model": str(folders[0]), "text": str(text), "length": LENGTH})
        workspace = Workspace(task, Compute("cpu"))
        with TemporaryDirectory() as place:
            found = [*folders, *(merged(method, folders, Path(place)) for method in RECIPES)]
            rows.append([name, *(perplexity(workspace, folder) for folder in found)])
        print(rows[-1], flush=True)
    publish(table(["", "A", "B", *RECIPES], rows), given.table, words, [stamp()])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
