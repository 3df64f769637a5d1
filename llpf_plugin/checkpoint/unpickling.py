"""What unpickling a checkpoint would make, added up before it is done: a short file can ask for much.

``torch.load(weights_only=True)`` executes no code, but what it allows can be asked for any amount of memory or time:
an array of bytes by its length, a number by its exponent, a set of the same long tuple again and again. The opcodes
that it knows are followed here without making anything; what only grows, or takes the place of a method, is refused.
"""

import argparse
import pickletools
import re
import types
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import IO, Any

import torch

MOST = 4_000_000
"""Opcodes of a pickle; torch takes more than a microsecond for each."""

_FREE, _TIMES = 128 << 20, 4
_CAP = 1 << 62
_FRACTION = re.compile(r"-?\d{1,400}(/\d{1,400})?")
_CODECS = ("latin1", "latin-1", "utf-8", "utf8", "ascii")
_TEXT = (str, bytes)
_STATEFUL: dict[str, type] = {
    "collections.OrderedDict": OrderedDict, "collections.Counter": Counter,
    "argparse.Namespace": argparse.Namespace, "types.SimpleNamespace": types.SimpleNamespace,
    "torch.nn.parameter.Parameter": torch.nn.Parameter, "torch._utils._rebuild_parameter": torch.nn.Parameter,
    "torch._utils._rebuild_tensor_v2": torch.Tensor,
}  # fmt: skip
_METHODS = frozenset(name for kind in _STATEFUL.values() for name in dir(kind))
_COSTS = {
    "EMPTY_LIST": 88, "EMPTY_DICT": 72, "EMPTY_SET": 216, "BINPUT": 100, "LONG_BINPUT": 100, "BINGET": 8,
    "LONG_BINGET": 8, "BININT1": 8, "NONE": 8, "NEWTRUE": 8, "NEWFALSE": 8,
}  # fmt: skip
"""Bytes that CPython takes for what an opcode makes, and torch for remembering it; 32 for any other."""


class UnboundedError(ValueError):
    """What would take more memory or time than the file has a right to, or cannot be used; ``args[0]`` says what."""


class _Made:
    """Stands for what an opcode would make.

    Attributes:
        name: ``tuple``, ``list``, ``dict``, or the full name of the function that would be called.
        items: of a tuple.
        size: what going through all of it takes, however often the same is in it.
        methods: keys of a mapping that are the names of methods.
        attributes: those of its state, which becomes its attributes.
        filled: whether it has entries.
    """

    __slots__ = ("attributes", "filled", "items", "methods", "name", "size")

    def __init__(self, name: str, items: Sequence[Any] = (), size: int = 1) -> None:
        self.name, self.items, self.size = name, items, size
        self.methods: frozenset[str] = frozenset()
        self.attributes: frozenset[str] = frozenset()
        self.filled = False


class _Global(str):
    """The full name of a class or function."""

    __slots__ = ()


def check_unpickling(file: IO[bytes], size: int) -> bool:
    """Follow one pickle to its end, or to the first opcode that torch does not know.

    Args:
        file: opened where the pickle begins.
        size: bytes of the whole checkpoint.

    Returns:
        Whether it came to its end.

    Raises:
        UnboundedError: see there.
        ValueError, LookupError, TypeError, AttributeError: it is no pickle.
    """
    weigher = _Weigher(_FREE + _TIMES * size)
    for opcode, argument, _ in pickletools.genops(file):
        if not weigher.follow(opcode.name, argument):
            return opcode.name == "STOP"
    return False


class _Weigher:
    """Torch's machine, with the weights of values in their place."""

    def __init__(self, limit: int) -> None:
        self.limit, self.left = limit, MOST
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def follow(self, name: str, argument: Any) -> bool:
        """Follow an opcode; False at the end, and where torch will refuse it."""
        self.left -= 1
        self.spend(_COSTS.get(name, 32) + (len(argument) if isinstance(argument, _TEXT) else 0))
        if name in _PLAIN:
            self.stack.append(_PLAIN[name](argument))
        elif (step := _STEPS.get(name)) is not None:
            step(self, argument)
        else:
            return False
        return True

    def spend(self, cost: int) -> None:
        """Count bytes.

        Raises:
            UnboundedError: it has become too much.
        """
        self.limit -= cost
        if self.limit < 0 or self.left < 0:
            raise UnboundedError("it holds far more than tensors, or would grow far beyond its size in memory")

    def mark(self) -> list[Any]:
        """What lies above the last mark."""
        found, self.stack = self.stack, self.marks.pop()
        return found

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def push_tuple(self, items: Sequence[Any]) -> None:
        self.spend(8 * len(items))
        self.stack.append(_Made("tuple", items, min(_CAP, 1 + sum(_size(one) for one in items))))

    def extend(self, items: Sequence[Any]) -> None:
        target = self.stack[-1]
        target.size = min(_CAP, target.size + sum(_size(one) for one in items))

    def set_items(self, items: Sequence[Any]) -> None:
        target, keys = self.stack[-1], items[::2]
        target.size = min(_CAP, target.size + 2 * len(keys))
        self.spend(sum(40 + _size(key) for key in keys))  # they are hashed
        target.methods |= _METHODS.intersection(key for key in keys if isinstance(key, str))
        target.filled = True
        self.check_mapping(target)

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.called(str(function), arguments.items))

    def called(self, function: str, items: Sequence[Any]) -> _Made:
        """What a call would make."""
        check = _CHECKS.get(function) or (_check_none if function.endswith(("Tensor", "Storage")) else None)
        if check is not None and not check(items):
            raise UnboundedError(f"it asks for {function} in a way in which no checkpoint does")
        size = sum(_size(one) for one in items)
        self.spend(64 + 40 * size)
        if function in _WITH_STATE:
            self.check_state(function, items[-1])
        if function in _THROUGH:
            return self.called(str(items[0]), items[2].items)
        return _Made(function, (), _length(items) if function == "builtins.range" else 1 + size)

    def build(self) -> None:
        state = self.stack.pop()
        self.spend(_size(state))
        target = self.stack[-1]
        for part in state.items if isinstance(state, _Made) and state.name == "tuple" else (state,):
            self.check_state(target.name, part)
            if isinstance(part, _Made):
                target.attributes |= part.methods
        self.check_mapping(target)

    def check_mapping(self, target: _Made) -> None:
        """Refuse such attributes of a mapping of any class: what has entries and is not known is read as one."""
        if target.filled and (wrong := sorted(target.attributes.intersection(dir(OrderedDict)))):
            raise UnboundedError(f"in a mapping it has {wrong[0]!r} in the place of a method")

    def check_state(self, name: str, state: Any) -> None:
        """Refuse attributes that take the place of methods."""
        kind = _STATEFUL.get(name, torch.Tensor if name in _WITH_STATE else None)
        if kind is None or not isinstance(state, _Made):
            return
        if wrong := sorted(state.methods.intersection(dir(kind))):
            raise UnboundedError(f"in a {kind.__name__} it has {wrong[0]!r} in the place of a method")


def _size(value: Any) -> int:
    return value.size if isinstance(value, _Made) else 1 + len(value) if isinstance(value, _TEXT) else 1


def _global(argument: str) -> _Global:
    """The name that torch looks up."""
    module, _, name = argument.partition(" ")
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return _Global(f"{module}.{name}")


def _length(items: Sequence[Any]) -> int:
    """Of a range, at most."""
    first, last = items[:2] if len(items) > 1 else (0, items[0])
    return min(_CAP, 1 + abs(last - first))


def _check_none(items: Sequence[Any]) -> bool:
    return not items


def _check_text(items: Sequence[Any]) -> bool:
    """Bytes of a text, by the codecs with which Python stores them."""
    text, *codec = items or ("",)
    encoded = isinstance(text, _TEXT) or (isinstance(text, _Made) and text.name == "_codecs.encode")
    return encoded and all(name in _CODECS for name in codec)


def _check_fraction(items: Sequence[Any]) -> bool:
    return all(isinstance(one, int) or (isinstance(one, str) and _FRACTION.fullmatch(one)) for one in items)


def _check_range(items: Sequence[Any]) -> bool:
    return 1 <= len(items) <= 3 and all(type(one) is int for one in items)


_CHECKS: dict[str, Callable[[Sequence[Any]], bool]] = {
    "_codecs.encode": _check_text, "builtins.bytearray": _check_text, "builtins.bytes": _check_text,
    "fractions.Fraction": _check_fraction, "builtins.range": _check_range,
    **{f"builtins.{name}": _check_none for name in ("str", "int", "float", "bool", "tuple", "list", "dict")},
}  # fmt: skip
"""What a function may be called with; any other is called with what is there, and counted."""

_THROUGH = ("torch._tensor._rebuild_from_type_v2",)
"""Functions that call their first argument with their third."""

_WITH_STATE = ("torch._utils._rebuild_parameter_with_state", *_THROUGH)
"""Functions whose last argument becomes attributes of a tensor."""

_PLAIN: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1"), lambda value: value
    ),
    "NONE": lambda _: None, "NEWTRUE": lambda _: True, "NEWFALSE": lambda _: False, "GLOBAL": _global,
    "EMPTY_TUPLE": lambda _: _Made("tuple"), "EMPTY_LIST": lambda _: _Made("list"),
    "EMPTY_DICT": lambda _: _Made("dict"), "EMPTY_SET": lambda _: _Made("set"),
}  # fmt: skip


def _push_mark(machine: _Weigher, _: Any) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _last(count: int) -> Callable[[_Weigher, Any], None]:
    """A tuple of what lies on top."""

    def step(machine: _Weigher, _: Any) -> None:
        items = machine.stack[-count:]
        del machine.stack[-count:]
        machine.push_tuple(items)

    return step


_STEPS: dict[str, Callable[[_Weigher, Any], None]] = {
    "MARK": _push_mark, "PROTO": lambda machine, _: None,
    "TUPLE": lambda machine, _: machine.push_tuple(machine.mark()),
    "TUPLE1": _last(1), "TUPLE2": _last(2), "TUPLE3": _last(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.mark()),
    "REDUCE": lambda machine, _: machine.call(), "NEWOBJ": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.stack.append(_Made("storage", (machine.stack.pop(),))),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda machine, index: machine.put(index)),
    **dict.fromkeys(
        ("BINGET", "LONG_BINGET"), lambda machine, index: machine.stack.append(machine.memo[index])
    ),
}  # fmt: skip
