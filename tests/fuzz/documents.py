"""YAML that people write and order files, changed."""

import json
from pathlib import Path
from random import Random
from typing import Any

import yaml

from fuzz import mutate

SCHEDULE: dict[str, Any] = {
    "batch_size": 16, "correct": "all", "moves": "layers",
    "settle": {"threshold": 0.5, "min_steps": 1, "max_steps": 3, "lr": 0.05, "momentum": 0.0, "window": 2},
    "phases": [
        {"name": "first", "layers": ["0"], "ticks": 2, "step_a": 0.1},
        {"name": "all", "layers": "all", "ticks": 3, "step_a": 0.3, "step_c": 0.01, "step_f": 0.02},
    ],
}  # fmt: skip
CUT: dict[str, Any] = {
    "cut": {"phases": "layer", "max_phases": 3, "ticks": 2, "step_a": 0.2},
    "settle": SCHEDULE["settle"],
}
PHASES: dict[str, Any] = {
    "phases": [{"name": "one", "layers": ["0.weight", "0.bias"]}, {"name": "two", "layers": ["2"]}]
}
CONFIG: dict[str, Any] = {
    "command": "merge", "models": ["a.pt", "b.pt"], "task": "digits/mlp", "task_args": {"width": 12}, "max_loss": 0.5,
    "budget": 5, "points": 1, "method": "linear", "method_args": {"repair": True}, "report": False, "align": "never",
}  # fmt: skip
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b]\n"


def yaml_text(random: Random, document: dict[str, Any]) -> str:
    """A document as YAML, its values or its text changed."""
    try:
        text = yaml.safe_dump(mutate.document_of(random, document), sort_keys=False, allow_unicode=True)
    except (yaml.YAMLError, RecursionError, ValueError):
        text = yaml.safe_dump(document)
    what = random.random()
    if what < 0.3:
        text = mutate.bytes_of(random, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    elif what < 0.4:
        text = ALIASES + text
    elif what < 0.5:
        tag = random.choice(
            ("!!python/object/apply:os.system [echo]", "!!binary x", "!!timestamp 2001-99-99", "&a [*a]")
        )
        text += f"x: {tag}\n"
    elif what < 0.55:
        text += "d: " + "[" * random.choice((50, 5000)) + "\n"
    return text


def order_text(random: Random, document: dict[str, Any]) -> str:
    """An order file with other values; its fingerprint is made anew, so that it is believed."""
    import hashlib

    changed = mutate.document_of(random, document)
    try:
        content = [[one["name"], one["parameters"], one["numel"], one["after"]] for one in changed["layers"]]
        changed["fingerprint"] = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    except (LookupError, TypeError):
        pass
    text = mutate.text_of(changed)
    return text if random.random() < 0.8 else mutate.bytes_of(random, text.encode()).decode("utf-8", "replace")


def written(seed: int, folder: Path, order: dict[str, Any]) -> tuple[Path, str]:
    """The document of a number, and what it is: ``schedule``, ``phases``, ``config`` or ``order``."""
    random = Random(seed)
    kind = random.choice(("schedule", "phases", "config", "order"))
    place = folder / f"mine.{'json' if kind == 'order' else 'yaml'}"
    tables = {"schedule": random.choice((SCHEDULE, CUT)), "phases": PHASES, "config": CONFIG}
    text = order_text(random, order) if kind == "order" else yaml_text(random, tables[kind])
    place.write_bytes(text.encode("utf-8", "surrogatepass"))
    return place, kind
