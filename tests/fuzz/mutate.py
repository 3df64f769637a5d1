"""Bytes and JSON documents, changed at random places by a seeded generator."""

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, -(2**63), 10**40, 1e308, -1e-320, 0.5, "", "x", "A", "\x1b[31m", "../../x",
    "x" * 5000, "\ud800", "∅", [], {}, [[]], [None], {"": None}, [1, "a"], {"a": {"b": []}}, "nan", float("nan"),
    float("inf"),
)  # fmt: skip
"""Values that nobody expects."""


def bytes_of(random: Random, content: bytes) -> bytes:
    """The content with a few changes: bytes, pieces that are cut out, doubled, moved, or the end that is missing."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 5))):
        random.choice(_CHANGES)(random, changed)
    return bytes(changed)


def _flip(random: Random, content: bytearray) -> None:
    for _ in range(random.choice((1, 1, 3, 20))):
        if content:
            content[random.randrange(len(content))] = random.choice((0, 255, random.randrange(256)))


def _cut(random: Random, content: bytearray) -> None:
    start = random.randrange(len(content) + 1)
    del content[start : start + random.choice((1, 2, 8, 100, 10**6))]


def _double(random: Random, content: bytearray) -> None:
    start = random.randrange(len(content) + 1)
    piece = content[start : start + random.choice((1, 4, 50, 1000))]
    content[start:start] = piece * random.choice((1, 2, 50))


def _number(random: Random, content: bytearray) -> None:
    size = random.choice((2, 4, 8))
    if len(content) > size:
        start = random.randrange(len(content) - size)
        value = random.choice((0, 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, len(content)))
        content[start : start + size] = value.to_bytes(8, "little")[:size]


_CHANGES: tuple[Callable[[Random, bytearray], None], ...] = (_flip, _flip, _cut, _double, _number)


def document_of(random: Random, document: Any) -> Any:
    """A JSON document with a value or two replaced, taken out, added, or nested deep."""
    changed = copy.deepcopy(document)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        holder, key = random.choice(_places(changed) or [([changed], 0)])
        what = random.choice(("replace", "replace", "replace", "remove", "wrap", "double", "like"))
        if what == "remove":
            del holder[key]
        elif what == "wrap":
            for _ in range(random.choice((1, 2, 50))):
                holder[key] = random.choice(([holder[key]], {"a": holder[key]}))
        elif what == "double" and isinstance(holder, list):
            holder[key:key] = [holder[key]] * random.choice((1, 3, 300))
        elif what == "like":
            holder[key] = _like(random, holder[key])
        else:
            holder[key] = copy.deepcopy(random.choice(ODD))
    return changed


def _like(random: Random, value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + random.choice((-1, 1, 7, -100))
    if isinstance(value, float):
        return value * random.choice((-1, 0, 1e9, 1e-9))
    if isinstance(value, str):
        return random.choice((value[1:], value + "x", value.upper(), "linear", "start", "BUDGET"))
    return value


def whole_numbers(value: Any) -> list[tuple[Any, Any]]:
    """Where a document has whole numbers: what holds each, and its key there."""
    return [(holder, key) for holder, key in _places(value) if type(holder[key]) is int]


def _places(value: Any) -> list[tuple[Any, Any]]:
    found = []
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            found += [(value, key), *_places(inner)]
    return found


def text_of(document: Any) -> str:
    """A document as text, whatever it holds."""
    return json.dumps(document)
