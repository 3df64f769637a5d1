"""The checks that a pair of models and a model with its weights have in common."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from llpf_plugin.preflight.finding import Finding, finding


def names_of_one(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: tuple[str, str], remedy: str
) -> list[Finding]:
    """Names that only one of the two has."""
    only_a, only_b = [k for k in a if k not in b], [k for k in b if k not in a]
    hint = _prefix_hint(only_a, only_b, *names) or _prefix_hint(only_b, only_a, *reversed(names))
    return [
        *finding("error", f"{len(only_a)} tensors of {names[0]} are missing in {names[1]}", only_a, hint or remedy),
        *finding("error", f"{len(only_b)} tensors of {names[1]} are missing in {names[0]}", only_b, hint or remedy),
    ]


def _prefix_hint(short: Sequence[str], long: Sequence[str], short_owner: str, long_owner: str) -> str:
    """A remedy if all that differs is a common prefix of the names in ``long``."""
    if not short or len(short) != len(long):
        return ""
    ends = [k for k in long if k.endswith("." + short[0])]
    for prefix in (k.removesuffix(short[0]) for k in ends):
        if {prefix + k for k in short} == set(long):
            return f"The names of {long_owner} have the prefix {prefix!r}: without it they are those of {short_owner}."
    return ""


def shapes(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: tuple[str, str]) -> list[Finding]:
    """Tensors of one name and two shapes."""
    where = [
        f"{k} ({names[0]} {tuple(t.shape)}, {names[1]} {tuple(b[k].shape)})"
        for k, t in a.items()
        if k in b and t.shape != b[k].shape
    ]
    remedy = "Both must be of one architecture and width: check the files and the task's arguments."
    return finding("error", f"{len(where)} tensors differ in shape", where, remedy)


def dtypes(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: tuple[str, str]) -> list[Finding]:
    """Tensors of one name and two dtypes."""
    differ = [k for k in a if a[k].dtype != b[k].dtype]
    mixed = [k for k in differ if a[k].is_floating_point() != b[k].is_floating_point()]
    rounded = [k for k in differ if k not in mixed]

    def told(keys: Sequence[str]) -> list[str]:
        return [f"{k} ({names[0]} {_short(a[k].dtype)}, {names[1]} {_short(b[k].dtype)})" for k in keys]

    return [
        *finding(
            "error",
            f"{len(mixed)} tensors are floating point in only one of {names[0]} and {names[1]}",
            told(mixed),
            "Save both unquantized.",
        ),
        *finding(
            "warning",
            f"{len(rounded)} tensors differ in dtype",
            told(rounded),
            f"The coarser one has lost digits; results are written in the dtypes of {names[0]}.",
        ),
    ]


def untied(weights: Mapping[str, Tensor], ties: Iterable[Sequence[str]], what: str) -> list[Finding]:
    """Groups of ``ties`` whose tensors in ``weights`` are not equal."""
    where = []
    for group in ties:
        present = [weights[k] for k in group if k in weights]
        if any(not _equal(present[0], other) for other in present[1:]):
            where.append(" = ".join(group))
    return finding("error", what, where, "Both must be of one architecture: train both tied, or both untied.")


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one object, or equal in dtype, shape and values."""
    return a is b or (a.dtype == b.dtype and torch.equal(a, b))


def _short(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")
