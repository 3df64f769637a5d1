"""Checks of weights, one by one; what they find is a value with a level, and errors become one exception."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from llpf_plugin.checkpoint import tied_names
from llpf_plugin.errors import MismatchError

Level = Literal["error", "warning", "note"]
Named = Mapping[str, Tensor]
"""Tensors by plain name."""

EACH = "\0"
"""What findings of one of two models call it, until `of_both` names it."""

_LISTED = 3
_DIMENSIONS = 64
_COMPUTED = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
}


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        level: only an ``error`` stands in the way.
        what: the fact.
        where: the tensors that it is true of.
        remedy: a sentence.
    """

    level: Level
    what: str
    where: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.where}. {self.remedy}"


def finding(level: Level, what: str, where: Sequence[str], remedy: str) -> list[Finding]:
    """One finding if ``where`` lists anything, with a count if it lists more than `_LISTED` things."""
    return [Finding(level, what, _first(where), remedy)] if where else []


def _first(where: Sequence[str]) -> str:
    """The first `_LISTED` things, and how many there are."""
    more = f" and {len(where) - _LISTED} more ({len(where)} in all)" if len(where) > _LISTED else ""
    return ", ".join(where[:_LISTED]) + more


def of_both(a: Sequence[Finding], b: Sequence[Finding], names: tuple[str, str]) -> list[Finding]:
    """What was found of each of two models, one after the other; what is true of both is told once.

    Args:
        a: found of the first one, which these findings call `EACH`.
        b: of the second one, likewise.
        names: what to call the two.
    """

    def called(found: Finding, name: str) -> Finding:
        return Finding(found.level, *(text.replace(EACH, name) for text in (found.what, found.where, found.remedy)))

    both = f"{names[0]} and {names[1]}"
    first = [called(found, both if found in b else names[0]) for found in a]
    return first + [called(found, names[1]) for found in b if found not in a]


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise all findings of level ``error`` as one.

    Raises:
        MismatchError: there is at least one; the message lists them all.
    """
    errors = [found for found in findings if found.level == "error"]
    if len(errors) == 1:
        raise MismatchError(str(errors[0]))
    if errors:
        raise MismatchError(f"{len(errors)} errors:\n" + "\n".join(f"- {error}" for error in errors))


def names_of_one(a: Named, b: Named, names: tuple[str, str], remedy: str) -> list[Finding]:
    """Names that only one of the two has."""
    only_a, only_b = [k for k in a if k not in b], [k for k in b if k not in a]
    hint = _prefix_hint(only_a, only_b, *names) or _prefix_hint(only_b, only_a, *reversed(names))
    if only_a and only_b:
        what = f"{len(only_a)} tensors of {names[0]} are missing in {names[1]}, and {len(only_b)} the other way round"
        return [Finding("error", what, f"{_first(only_a)}; {_first(only_b)}", hint or remedy)]
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


def shapes(a: Named, b: Named, names: tuple[str, str]) -> list[Finding]:
    """Tensors of one name and two shapes."""
    where = [
        f"{k} ({names[0]} {tuple(t.shape)}, {names[1]} {tuple(b[k].shape)})"
        for k, t in a.items()
        if k in b and t.shape != b[k].shape
    ]
    remedy = "Both must have one architecture and width: check the files and the task's arguments."
    return finding("error", f"{len(where)} tensors differ in shape", where, remedy)


def dtypes(a: Named, b: Named, names: tuple[str, str]) -> list[Finding]:
    """Tensors of one name and two dtypes, of two models."""
    rounded = _of_two_dtypes(a, b, names, mixed=False)
    remedy = f"The coarser one has lost digits; results are written in the dtypes of {names[0]}."
    return [
        *_mixed(a, b, names),
        *finding("warning", f"{len(rounded)} tensors differ in dtype", rounded, remedy),
    ]


def stored(weights: Named, own: Named, name: str) -> list[Finding]:
    """Tensors of one name and two dtypes, of a model as it is stored and as it computes."""
    names = (name, "the model")
    other = _of_two_dtypes(weights, own, names, mixed=False)
    remedy = "The model's is computed in; what is merged is written as the first model is stored."
    return [
        *_mixed(weights, own, names),
        *finding("note", f"{len(other)} tensors of {name} are stored in another dtype than the model's", other, remedy),
    ]


def _mixed(a: Named, b: Named, names: tuple[str, str]) -> list[Finding]:
    mixed = _of_two_dtypes(a, b, names, mixed=True)
    what = f"{len(mixed)} tensors are floating point in only one of {names[0]} and {names[1]}"
    return finding("error", what, mixed, "Save both unquantized.")


def _of_two_dtypes(a: Named, b: Named, names: tuple[str, str], mixed: bool) -> list[str]:
    """Tensors of two dtypes with both of them, either floating point in one only (``mixed``) or alike in that."""
    differ = [k for k in a if a[k].dtype != b[k].dtype]
    return [
        f"{k} ({names[0]} {_short(a[k].dtype)}, {names[1]} {_short(b[k].dtype)})"
        for k in differ
        if mixed == (a[k].is_floating_point() != b[k].is_floating_point())
    ]


def _short(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def computable(weights: Named, name: str) -> list[Finding]:
    """Tensors that can be stored, but of which no loss can be computed."""
    odd = [k for k, t in weights.items() if t.dtype not in _COMPUTED]
    dtypes_of_odd = [f"{k} ({_short(weights[k].dtype)})" for k in odd]
    deep = [f"{k} ({t.dim()} dimensions)" for k, t in weights.items() if t.dim() > _DIMENSIONS]
    return [
        *finding(
            "error",
            f"{len(odd)} tensors of {name} are of a type in which nothing is computed",
            dtypes_of_odd,
            "Save the model in bfloat16 or float32, with whatever scales belong to it.",
        ),
        *finding(
            "error", f"{len(deep)} tensors of {name} have more dimensions than torch computes with", deep,
            "Save the model again.",
        ),
    ]  # fmt: skip


def finite(weights: Named, name: str) -> list[Finding]:
    """Tensors with NaN or infinity, and how many."""
    where = []
    for key, tensor in weights.items():
        if not tensor.is_floating_point():
            continue
        wide = tensor.float() if tensor.itemsize == 1 else tensor  # float8 has no isfinite
        if not wide.isfinite().all():
            where.append(f"{key} ({int(wide.isnan().sum())} NaN, {int(wide.isinf().sum())} Inf of {wide.numel()})")
    return finding("error", f"{name} holds NaN or infinity", where, "Training diverged: use an earlier checkpoint.")


def integers(weights: Named, name: str) -> list[Finding]:
    """Tensors that no path moves."""
    where = [k for k, t in weights.items() if not t.is_floating_point()]
    return finding("note", f"{len(where)} tensors are not floating point", where, f"They are kept from {name}.")


def ties(a: Named, b: Named, names: tuple[str, str]) -> list[Finding]:
    """Tensors under several names: in both, or in one while the other's differ."""
    ties_a, ties_b = tied_names(a), tied_names(b)
    shared = [" = ".join(group) for group in ties_a]
    return [
        *finding("note", f"tied weights in {names[0]}", shared, "They are walked as one and stay tied."),
        *untied(b, ties_a, f"tied in {names[0]}, but different in {names[1]}"),
        *untied(a, ties_b, f"tied in {names[1]}, but different in {names[0]}"),
    ]


def untied(weights: Named, groups: Iterable[Sequence[str]], what: str) -> list[Finding]:
    """Groups of tied names whose tensors in ``weights`` are not equal."""
    where = []
    for group in groups:
        present = [weights[k] for k in group if k in weights]
        if any(not _equal(present[0], tensor) for tensor in present[1:]):
            where.append(" = ".join(group))
    return finding("error", what, where, "Both must have one architecture: train both tied, or both untied.")


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one object, or equal in dtype, shape and values."""
    return a is b or (a.dtype == b.dtype and torch.equal(a, b))
