"""Objects of classes that are not known to be safe: never imported, never called, only passed over.

Hyper-parameters and callbacks lie beside the weights in many checkpoints, and have classes of their own. Each such
class is read as a stand-in that takes whatever it is given and keeps nothing. What only does harm beside weights, such
as ``os.system``, is refused nevertheless.
"""

import argparse
import copy
import re
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llpf_plugin.checkpoint import safe_numpy

MOST = 200
"""Classes at most that are passed over in one file; torch looks at all of them for every object."""

MAPPINGS = 16
"""Classes of mappings and lists at most: the file is read once more for each."""

_DEPTH = 8
_SYSTEM = {"os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "runpy", "pty", "ctypes", "importlib", "code"}
_RUN = {"eval", "exec", "compile", "open", "__import__", "input", "breakpoint"}
_UNFILLED = re.compile(
    r"Can only (SETITEM|append|extend).*? but got <class '([^']+)'>|^'(.+)' object does not support item"
)
"""What torch says of an object that is given items; older ones let Python say it, see `_stand_in`."""


class PassedOver:
    """Stands for an object of a class that is not known; ``stands_for`` is the name of that class."""

    stands_for = ""

    def __new__(cls, *_arguments: object) -> Any:
        """Whatever the object was made of is not kept."""
        return object.__new__(cls)

    def __init__(self, *_arguments: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


class StandIns:
    """The classes of one file that are passed over, found while it is read again and again."""

    def __init__(self) -> None:
        self._kinds: dict[str, type] = {}

    @property
    def allowed(self) -> list[tuple[type, str]]:
        """What torch is told of them."""
        return [(kind, name) for name, kind in self._kinds.items()]

    def learn(self, error: Exception, unknown: Iterable[str]) -> bool:
        """Whether the file may be read once more, since the error was one of an unknown class.

        Args:
            error: that reading the file ended with.
            unknown: the names in it that are not allowed.
        """
        names = [name for name in unknown if name not in self._kinds]
        if len(names) + len(self._kinds) > MOST or not all(
            name.isprintable() and not runs_code(name) for name in names
        ):
            return False
        self._kinds |= {name: _stand_in(name, PassedOver, None) for name in names}
        return bool(names) or self._holds_items(str(error))

    def _holds_items(self, message: str) -> bool:
        """Whether the error says that a class is one of mappings or of lists, which was not known before."""
        found = _UNFILLED.search(message)
        known = sum(not issubclass(kind, PassedOver) for kind in self._kinds.values())
        name = (found[2] or found[3]) if found else ""
        if found is None or known >= MAPPINGS or not issubclass(self._kinds.get(name, int), PassedOver):
            return False
        made = list if found[1] in ("append", "extend") else OrderedDict
        self._kinds[name] = _stand_in(name, object, made)
        return True


def _stand_in(name: str, base: type, made: Callable[[], Any] | None) -> type:
    """A class of its own for each name, since torch goes by the class; ``made`` is what its objects are instead.

    Its short name is the full one, for that is what Python's own messages tell of it.
    """
    module, _, last = name.rpartition(".")
    body: dict[str, Any] = {"__module__": module, "__qualname__": last, "stands_for": name}
    if made is not None:
        body["__new__"] = lambda _cls, *_arguments: made()
    return type(name, (base,), body)


def runs_code(name: str) -> bool:
    """Whether a name is that of something that runs code or touches the system, and has no place beside weights."""
    module, _, last = name.rpartition(".")
    return module.split(".")[0] in _SYSTEM or (module in ("", "builtins", "__builtin__") and last in _RUN)


def unknown_class(value: Any) -> str:
    """The name of a class that was passed over somewhere in ``value``; empty if there is none."""
    waiting, seen = [value], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, PassedOver):
            return value.stands_for
        if isinstance(value, type) and (name := getattr(value, "stands_for", "")):
            return str(name)
        if id(value) not in seen:
            seen.add(id(value))
            waiting += _inside(value)
    return ""


def _inside(value: Any) -> list[Any]:
    """What a value holds that may be passed over."""
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values(), *getattr(value, "__dict__", {}).values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, argparse.Namespace | types.SimpleNamespace):
        return list(vars(value).values())
    if isinstance(value, safe_numpy.Array) and value.value.dtype == object:
        return list(value.value.flat)
    return []


def without(tree: Any) -> tuple[Any, list[str]]:
    """A copy of a tree of mappings without the entries that hold what was passed over; and these, in words."""
    kept, places = _without(tree, (), set())
    words = []
    for top in dict.fromkeys(place[0] for place in places):
        own = {place: name for place, name in places.items() if place[0] == top}
        (first, name), more = next(iter(own.items())), len(own) - 1
        names = f"{'.'.join(first)} and {more} more of {top}" if more else ".".join(first)
        words.append(f"{names} (of unknown classes: {name}{', …' if more else ''})")
    return kept, words


def _without(tree: Any, place: tuple[str, ...], seen: set[int]) -> tuple[Any, dict[tuple[str, ...], str]]:
    """`without`, and the class by the keys that lead to what was left out."""
    seen.add(id(tree))
    kept, left_out = copy.copy(tree), dict[tuple[str, ...], str]()
    if unknown_class(list(getattr(kept, "__dict__", {}).values())):
        vars(kept).clear()
    for key, value in tree.items():
        name, at = unknown_class(key) or unknown_class(value), (*place, str(key))
        inside = isinstance(value, dict) and id(value) not in seen and len(at) < _DEPTH
        if name and inside and not unknown_class(key):
            kept[key], inner = _without(value, at, seen)
            left_out |= inner
        elif name:
            del kept[key]
            left_out[at] = name
    return kept, left_out
