"""Do two models fit each other, and are they worth connecting?"""

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from llpf_plugin.checkpoint import tied_names
from llpf_plugin.geometry.weights import distance, norm
from llpf_plugin.preflight.checks import dtypes, names_of_one, shapes, untied
from llpf_plugin.preflight.finding import Finding, finding

NEARLY_SAME = 0.01
"""Relative distance under which two models are nearly the same; a walk counts as arrived at the same distance."""

_RUNNING = ("running_mean", "running_var")


def compare(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    names: tuple[str, str] = ("A", "B"),
    model: nn.Module | None = None,
) -> list[Finding]:
    """What stands against connecting ``a`` with ``b``, or is worth knowing about the pair.

    Args:
        a: weights by plain name, made whole by `complete`.
        b: the same of the other model.
        names: what to call the two, e.g. their file names.
        model: tells parameters from buffers; without it float buffers are not looked at.

    Returns:
        Missing names, shapes, dtypes, NaN and infinity, the same model twice, integer and float buffers, ties.
    """
    common = [k for k in a if k in b and a[k].shape == b[k].shape]
    one, other = {k: a[k] for k in common}, {k: b[k] for k in common}
    return [
        *names_of_one(a, b, names, "Both must be of one architecture: check that these are the files you mean."),
        *shapes(a, b, names),
        *dtypes(one, other, names),
        *_finite(a, names[0]),
        *_finite(b, names[1]),
        *_sameness(one, other, names),
        *_integers(one, names[0]),
        *(_float_buffers(one, other, names, model) if model else []),
        *_ties(a, b, names),
    ]


def _finite(weights: Mapping[str, Tensor], name: str) -> list[Finding]:
    """Tensors with NaN or infinity, and how many."""
    where = []
    for key, tensor in weights.items():
        if not tensor.is_floating_point():
            continue
        wide = tensor.float() if tensor.itemsize == 1 else tensor  # float8 has no isfinite
        if not wide.isfinite().all():
            where.append(f"{key} ({int(wide.isnan().sum())} NaN, {int(wide.isinf().sum())} Inf of {wide.numel()})")
    return finding("error", f"{name} holds NaN or infinity", where, "Training diverged: use an earlier checkpoint.")


def _sameness(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: tuple[str, str]) -> list[Finding]:
    """The same model twice, bit by bit or nearly."""
    learned = [k for k in a if a[k].is_floating_point() and b[k].is_floating_point() and not k.endswith(_RUNNING)]
    if not learned:
        return []
    where = f"all {len(learned)} tensors"
    if all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in learned):
        remedy = "There is nothing to connect: name two networks that were trained independently."
        return [Finding("error", f"{names[0]} and {names[1]} are the same model, bit by bit", where, remedy)]
    gap, scale = _total(lambda k: distance({k: a[k]}, {k: b[k]}), learned), _total(lambda k: norm({k: b[k]}), learned)
    if not (math.isfinite(gap) and gap <= NEARLY_SAME * scale):
        return []
    what = f"{names[0]} and {names[1]} are nearly the same model (relative distance {gap / scale if scale else 0:.2g})"
    return [Finding("warning", what, where, "Averaging will do, unless these are not the files you mean.")]


def _total(part: Callable[[str], float], names: Iterable[str]) -> float:
    """The Euclidean norm put together from that of each tensor, one tensor in float64 at a time."""
    return float(sum(part(k) ** 2 for k in names) ** 0.5)


def _integers(weights: Mapping[str, Tensor], name: str) -> list[Finding]:
    """Tensors that no path moves."""
    where = [k for k, t in weights.items() if not t.is_floating_point()]
    return finding("note", f"{len(where)} tensors are not floating point", where, f"They are kept from {name}.")


def _float_buffers(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: tuple[str, str], model: nn.Module
) -> list[Finding]:
    """Float buffers that differ, other than running statistics, which are estimated anew."""
    where = [
        k
        for k, t in model.named_buffers()
        if k in a and t.is_floating_point() and not k.endswith(_RUNNING) and distance({k: a[k]}, {k: b[k]}) > 0
    ]
    remedy = "A buffer is not walked: check that the model works with those of either."
    return finding("warning", f"Float buffers of {names[0]} and {names[1]} differ", where, remedy)


def _ties(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: tuple[str, str]) -> list[Finding]:
    """Tensors under several names: in both, or in one while the other's differ."""
    ties_a, ties_b = tied_names(a), tied_names(b)
    shared = [" = ".join(group) for group in ties_a]
    return [
        *finding("note", f"Tied weights in {names[0]}", shared, "They are walked as one and stay tied."),
        *untied(b, ties_a, f"Tied in {names[0]}, but different in {names[1]}"),
        *untied(a, ties_b, f"Tied in {names[1]}, but different in {names[0]}"),
    ]
