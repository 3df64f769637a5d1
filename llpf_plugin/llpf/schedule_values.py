"""The values of a schedule file, one by one: each is what it must be, or a `ScheduleError` says where and what.

``where`` is the file and the phase, with which an error begins.
"""

import math
from collections.abc import Iterable
from typing import Any

from llpf_plugin.documents import quoted
from llpf_plugin.errors import LLPFError, ScheduleError
from llpf_plugin.llpf.settling import SettleRule

COUNTS, RATE = ("min_steps", "max_steps", "window"), ("lr", "momentum")
SETTLE = ("threshold", *COUNTS, *RATE)


def choice(document: dict[str, Any], key: str, known: Iterable[Any], place: str) -> Any:
    """One of some words, None where the file does not say."""
    if key not in document:
        return None
    if document[key] not in known:
        raise ScheduleError(f"{place}: {key} = {quoted(document[key])}; it must be one of {', '.join(known)}")
    return document[key]


def whole(value: Any, where: str, key: str) -> int:
    """A number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ScheduleError(f"{where}: {key} = {quoted(value)}; it must be a whole number of at least 1")
    return value


def settle_rule(entry: Any, base: SettleRule, where: str) -> SettleRule:
    """How settling ends, by an entry ``settle``; ``base`` has what it does not say."""
    if entry is None:
        return base
    if not isinstance(entry, dict):
        raise ScheduleError(f"{where}: settle = {quoted(entry)}; it must be a mapping with any of {', '.join(SETTLE)}")
    only(entry, SETTLE, f"{where}, settle")
    values = {k: getattr(base, k) for k in SETTLE}
    for key, value in entry.items():
        found = number(value, where, f"settle.{key}")
        if key in COUNTS and found != int(found):
            raise ScheduleError(f"{where}: settle.{key} = {quoted(value)} is not a whole number")
        values[key] = int(found) if key in COUNTS else found
    try:
        return SettleRule(**values)
    except LLPFError as error:
        raise ScheduleError(f"{where}: {error}") from error


def only(entry: dict[Any, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that mean nothing here."""
    unknown = [quoted(key).strip("'") for key in entry if key not in known]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ScheduleError(f"{where}: unknown {', '.join(unknown[:5])}{more}; known are {', '.join(known)}")


def number(value: Any, where: str, key: str) -> float:
    """A finite number of at least 0."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ScheduleError(f"{where}: {key} = {quoted(value)} is not a number") from error
    if not 0 <= found < math.inf:
        raise ScheduleError(f"{where}: {key} = {quoted(value)} must be finite and not below 0")
    return found
