"""Two folders that ``save_pretrained`` wrote: do their configurations and tokenizers mean the same?"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llpf_plugin.checkpoint import Checkpoint
from llpf_plugin.documents import read_json
from llpf_plugin.errors import CheckpointError
from llpf_plugin.preflight.checks import Finding, finding, raise_errors

_HARMLESS = re.compile(
    r"^_|version|dtype|dropout|pdrop|drop_path|droppath|initializer|use_cache|output_|return_dict|checkpoint|"
    r"task_specific|name_or_path|problem_type|finetuning|attn_implementation|architectures"
)
"""Entries of a configuration on which what the network computes in evaluation mode does not depend."""

_DEFAULT_LABEL = re.compile(r"LABEL_\d+")
_VOCABULARIES = ("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")


def compare_folders(a: Path, b: Path, names: tuple[str, str] = ("A", "B")) -> list[Finding]:
    """What differs in the files beside the weights of two folders, as far as both have them.

    Args:
        a: a folder; anything else has nothing to compare.
        b: the second one.
        names: what to call the two.
    """
    if not (a.is_dir() and b.is_dir()):
        return []
    return [*_configurations(a, b, names), *_tokenizers(a, b), *_preprocessors(a, b, names)]


def check_beside(a: Checkpoint | None, b: Checkpoint | None, names: tuple[str, str]) -> None:
    """Refuse two checkpoints whose folders say that their weights mean different things.

    Args:
        a: as it was read, None for what comes from no file.
        b: the second one.
        names: what to call the two.

    Raises:
        MismatchError: configurations, labels, tokenizers or image processors differ; names what does.
    """
    if a is not None and b is not None:
        raise_errors(compare_folders(a.path.parent, b.path.parent, names))


def _configurations(a: Path, b: Path, names: tuple[str, str]) -> list[Finding]:
    one, other = (_flat(_json(place / "config.json")) for place in (a, b))
    if not (one and other):
        return []
    differ = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
    labels = [key for key in differ if key.startswith(("id2label", "label2id"))]
    unnamed = any(
        all(_is_default(k, v) for k, v in c.items() if k.startswith(("id2label", "label2id"))) for c in (one, other)
    )
    matters = [key for key in differ if not _HARMLESS.search(key) and key not in labels]
    harmless = [key for key in differ if key not in matters and key not in labels]

    def told(keys: list[str]) -> list[str]:
        return [f"{k} ({names[0]} {_short(one.get(k))}, {names[1]} {_short(other.get(k))})" for k in keys]

    return [
        *finding("error", "the configurations differ", told(matters), "Weights mean the same in one network only."),
        *finding(
            "warning" if unnamed else "error", "the labels differ", told(labels),
            "Outputs must stand for the same classes in the same order.",
        ),
        *finding("note", "the configurations differ in what weights do not depend on", told(harmless), "A's are kept."),
    ]  # fmt: skip


def _tokenizers(a: Path, b: Path) -> list[Finding]:
    """Vocabularies that give a token two numbers."""
    one, other = (_vocabulary(place) for place in (a, b))
    if one and other:
        differ = [token for token, number in one.items() if other.get(token) != number]
        differ += [token for token in other if token not in one]
        where = [f"{token!r} ({one.get(token)}, {other.get(token)})" for token in differ]
    else:
        where = [
            name
            for name in _VOCABULARIES
            if (a / name).is_file() and (b / name).is_file() and not _equal(a / name, b / name)
        ]
    remedy = "A row of the embedding must stand for the same token in both."
    return finding("error", "the tokenizers differ", where, remedy)


def _preprocessors(a: Path, b: Path, names: tuple[str, str]) -> list[Finding]:
    where = []
    for file in _PREPROCESSORS:
        one, other = (_flat(_json(place / file)) for place in (a, b))
        differ = [key for key in one if key in other and one[key] != other[key]]
        where += [f"{k} ({names[0]} {_short(one[k])}, {names[1]} {_short(other[k])})" for k in differ]
    return finding("warning", "the image processors differ", where, "Both were trained on other inputs; A's is kept.")


def _vocabulary(folder: Path) -> dict[str, Any]:
    """Numbers by token, from ``tokenizer.json``, else ``vocab.json``; empty if there is none that is read."""
    model = _json(folder / "tokenizer.json").get("model")
    found = model.get("vocab") if isinstance(model, Mapping) else _json(folder / "vocab.json")
    if isinstance(found, list):  # of a unigram model: tokens with their scores
        return {str(entry[0] if isinstance(entry, list) else entry): i for i, entry in enumerate(found)}
    return dict(found) if isinstance(found, Mapping) else {}


def _json(place: Path) -> dict[str, Any]:
    """A JSON object; empty if there is none that can be read."""
    try:
        found = read_json(place, CheckpointError)
    except CheckpointError:
        return {}
    return found if isinstance(found, dict) else {}


def _flat(tree: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """The leaves of nested mappings, by keys with dots between."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and depth < 5:
            flat |= _flat(value, f"{prefix}{key}.", depth + 1)
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _is_default(key: str, value: Any) -> bool:
    """Whether an entry of ``id2label`` or ``label2id`` names no class."""
    return bool(_DEFAULT_LABEL.fullmatch(str(value)) or _DEFAULT_LABEL.search(key))


def _equal(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _short(value: Any) -> str:
    text = "–" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}…"
