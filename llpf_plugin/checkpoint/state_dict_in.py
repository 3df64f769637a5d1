"""Where in a checkpoint the state dict is, by structure; well-known keys only break ties. Take it out, put it back."""

import copy
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from llpf_plugin.documents import listed, quoted

Keys = tuple[str, ...]

_DEPTH = 3
_DEEPEST = 100  # levels; pickling takes several of Python's frames for each
_CONTAINERS = (Mapping, list, tuple)
_EXTRA_STATE = "_extra_state"  # torch's name for what a module adds to its state dict
_PREFERRED = ("state_dict", "model_state_dict", "model", "model_state", "module", "network", "net", "weights", "params")
_OPTIMIZER = re.compile(r"(^|_)(opt|optim|optimi[sz]ers?)(_|$)")
_TRAINING = ("sched", "scaler", "rng", "random_state", "callbacks", "loops")


class AmbiguousError(ValueError):
    """Several mappings could be the weights, or none is the one asked for; ``args[0]`` lists them in words."""


def find(tree: Any, wanted: str | None = None) -> Keys | None:
    """The keys that lead to the state dict in ``tree``, ``()`` if it is one itself, ``None`` if there is none.

    A state dict is a mapping from names to nothing but tensors; where there is none, values of other types may stand
    between the tensors. Optimizer state is never looked at.

    Args:
        tree: what was saved.
        wanted: its last key, or all of them with dots between, where there are several.

    Raises:
        AmbiguousError: there are several, and neither ``wanted`` nor a well-known key tells which one is meant; or
            none is ``wanted``.
    """
    mappings = dict(_mappings(tree))
    candidates = [keys for keys, mapping in mappings.items() if _is_state_dict(mapping, mixed=False)]
    candidates = candidates or [keys for keys, mapping in mappings.items() if _is_state_dict(mapping, mixed=True)]
    if wanted is not None:
        found = [keys for keys in candidates if wanted in (".".join(keys), *keys[-1:])]
        if len(found) != 1:
            raise AmbiguousError(_listed(mappings, found or candidates))
        return found[0]
    if () in candidates:
        return ()
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    known = [keys for keys in candidates if keys[-1] in _PREFERRED]
    if known:
        return min(known, key=lambda keys: (len(keys), _PREFERRED.index(keys[-1])))
    raise AmbiguousError(_listed(mappings, candidates))


def others(tree: Any, keys: Keys) -> list[Keys]:
    """Where further state dicts with as many tensors lie, such as averages of the weights at ``keys``."""
    if not keys:
        return []
    count = count_tensors(at(tree, keys))
    found = ((k, mapping) for k, mapping in _mappings(tree) if k and k[: len(keys)] != keys)
    return [k for k, m in found if _is_state_dict(m, mixed=False) and abs(count_tensors(m) - count) <= 1]


def _listed(mappings: Mapping[Keys, Any], candidates: Iterable[Keys]) -> str:
    """State dicts with their sizes, in words."""
    return listed([f"{'.'.join(k) or 'the file itself'} ({count_tensors(mappings[k])} tensors)" for k in candidates])


def at(tree: Any, keys: Keys) -> Any:
    """What ``keys`` lead to in ``tree``."""
    for key in keys:
        tree = tree[key]
    return tree


def strip(tree: Any, keys: Keys) -> tuple[Any, list[str]]:
    """A copy of ``tree`` without training state and with ``None`` for each tensor of the state dict at ``keys``.

    Returns:
        The copy, which keeps the types of the mappings and the order of their keys, and what was left out, in words.
    """
    if not keys:
        return _strip_state_dict(tree)
    shell = copy.copy(tree)
    left_out = []
    for key, value in tree.items():
        if key == keys[0]:
            shell[key], inner = strip(value, keys[1:])
            left_out += inner
        elif word := _left_out(key if isinstance(key, str) else quoted(key), value):
            del shell[key]
            left_out.append(f"{listed([key])} ({word})")
        elif isinstance(value, Tensor):
            shell[key] = value.detach().clone()
    return shell, left_out


def fill(shell: Any, keys: Keys, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `strip`: a copy of ``shell`` with ``tensors`` in the state dict at ``keys``."""
    tree = copy.copy(shell)
    if keys:
        tree[keys[0]] = fill(tree[keys[0]], keys[1:], tensors)
    else:
        tree.update(tensors)
    return tree


def count_tensors(value: Any) -> int:
    """The number of tensors in ``value``, at any depth, each container counted once however often it is there."""
    return sum(isinstance(inner, Tensor) for _, inner in within(value))


def within(value: Any) -> Iterator[tuple[int, Any]]:
    """A value and all that is in it, with the depth; each container once, the outer ones first."""
    seen, left = set[int](), deque([(0, value)])
    while left:
        depth, one = left.popleft()
        yield depth, one
        if isinstance(one, _CONTAINERS) and id(one) not in seen:
            seen.add(id(one))
            left += [(depth + 1, inner) for inner in (one.values() if isinstance(one, Mapping) else one)]


def _is_deep(value: Any) -> bool:
    """Whether a value is nested so deep that it could not be pickled again."""
    return any(depth > _DEEPEST for depth, _ in within(value))


def _strip_state_dict(state: Any) -> tuple[Any, list[str]]:
    """`strip` of the state dict itself, which may have other values between its tensors."""
    shell = copy.copy(state)
    left_out = []
    for name, value in state.items():
        if isinstance(value, Tensor):
            shell[name] = None
        elif not name.endswith(_EXTRA_STATE) and (word := _left_out(name, value)):
            del shell[name]
            left_out.append(f"{listed([name])} ({word})")
    return shell, left_out


def _mappings(tree: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """Every mapping in ``tree`` within `_DEPTH` keys that is not optimizer state, once, the outer ones first."""
    seen, left = set[int](), deque([(keys, tree)])
    while left:
        keys, tree = left.popleft()
        if not isinstance(tree, Mapping) or id(tree) in seen or (keys and _is_optimizer(keys[-1], tree)):
            continue
        seen.add(id(tree))
        yield keys, tree
        if len(keys) < _DEPTH:
            left += [((*keys, key), value) for key, value in tree.items() if isinstance(key, str)]


def _is_state_dict(mapping: Mapping[str, Any], mixed: bool) -> bool:
    """Whether ``mapping`` goes from names to tensors, with other values between them if ``mixed``."""
    if not all(isinstance(name, str) for name in mapping):
        return False
    tensors = {name: value for name, value in mapping.items() if isinstance(value, Tensor)}
    others = [name for name in mapping if name not in tensors and not name.endswith(_EXTRA_STATE)]
    # Counters, metrics and the state of random generators are tensors too, but no layer's.
    return any(t.is_floating_point() and t.dim() > 0 for t in tensors.values()) and (mixed or not others)


def _is_optimizer(key: str, value: Any) -> bool:
    """Whether ``value`` is the state of an optimizer."""
    return bool(_OPTIMIZER.search(key.lower())) or (isinstance(value, Mapping) and "param_groups" in value)


def _left_out(key: str, value: Any) -> str:
    """Why the entry does not belong in a checkpoint of other weights, in words; empty if it may stay."""
    if _is_optimizer(key, value):
        return "optimizer state"
    if any(word in key.lower() for word in _TRAINING):
        return "training state"
    count = 0 if isinstance(value, Tensor) else count_tensors(value)
    return f"{count} other tensors" if count else "nested too deep to be written" if _is_deep(value) else ""
