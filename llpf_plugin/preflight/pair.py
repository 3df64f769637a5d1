"""All that must hold of a pair and its model before any work: do they fit, and are they worth connecting?"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from llpf_plugin.checkpoint import tied_names
from llpf_plugin.geometry.weights import Weights, distance, norm, state
from llpf_plugin.preflight.checks import (
    EACH,
    Finding,
    Named,
    computable,
    dtypes,
    finding,
    finite,
    integers,
    names_of_one,
    of_both,
    raise_errors,
    shapes,
    stored,
    ties,
    untied,
)

NEARLY_SAME = 0.01
"""Relative distance under which two models are nearly the same; a walk counts as arrived at the same distance."""

_RUNNING = ("running_mean", "running_var")


def check_pair(a: Named, b: Named, model: nn.Module, names: tuple[str, str] = ("A", "B")) -> tuple[Weights, Weights]:
    """Both state dicts with every name that the model has.

    Args:
        a: weights by plain name.
        b: those of the second model.
        model: that both are to be loaded into.
        names: what to call the two, such as their file names.

    Raises:
        MismatchError: all errors at once, each with its place and its remedy.
    """
    raise_errors(look(a, b, model, names))
    own = state(model)
    return complete(a, own), complete(b, own)


def look(a: Named, b: Named, model: nn.Module, names: tuple[str, str] = ("A", "B")) -> list[Finding]:
    """Everything that `fits` finds of each and `compare` finds of both; arguments as of `check_pair`."""
    if odd := [found for weights, name in zip((a, b), names, strict=True) for found in computable(weights, name)]:
        return odd
    own = state(model)
    each = of_both(fits(a, model, EACH), fits(b, model, EACH), names)
    if any(found.level == "error" for found in each):  # the same mismatch would be told once more of the two files
        return each
    return each + compare(complete(a, own), complete(b, own), names, model)


def fits(weights: Named, model: nn.Module, name: str) -> list[Finding]:
    """What stands against loading ``weights``, which are called ``name``, into ``model``.

    Names that `complete` can add are a note, not an error.
    """
    if odd := computable(weights, name):
        return odd
    own = state(model)
    full = complete(weights, own)
    added = [k for k in full if k not in weights]
    whose = (name, "the model")
    common = [k for k in own if k in weights and own[k].shape == weights[k].shape]
    return [
        *finding("note", f"{name} lacks names that the model ties or counts by itself", added, "They are added."),
        *names_of_one(full, own, whose, "Check the file and the task's arguments."),
        *shapes(weights, own, whose),
        *stored({k: weights[k] for k in common}, {k: own[k] for k in common}, name),
        *untied(weights, tied_names(own), f"the model ties weights that differ in {name}"),
    ]


def complete(weights: Named, reference: Named) -> Weights:
    """The weights and what files leave out: tied names, and the batch counters that old BatchNorm did not have.

    Args:
        weights: by plain name.
        reference: has all names, such as the state dict of the model; its ties tell which tensor a name stands for.
    """
    full = dict(weights)
    for group in tied_names(reference):
        present = next((k for k in group if k in weights), None)
        if present is not None:
            full |= {k: weights[present] for k in group if k not in weights}
    for mean in [k for k in weights if k.endswith("running_mean")]:
        counter = mean.removesuffix("running_mean") + "num_batches_tracked"
        if counter in reference and counter not in weights:
            full[counter] = reference[counter].clone()
    return full


def compare(
    a: Named, b: Named, names: tuple[str, str] = ("A", "B"), model: nn.Module | None = None, sameness: bool = True
) -> list[Finding]:
    """What stands against connecting ``a`` with ``b``, or is worth knowing about the pair.

    Args:
        a: weights by plain name, made whole by `complete`.
        b: those of the second model, likewise.
        names: what to call the two, such as their file names.
        model: tells parameters from buffers; without it float buffers are not looked at.
        sameness: whether the same model twice is looked for.

    Returns:
        Missing names, shapes, dtypes, NaN and infinity, the same model twice, integer and float buffers, ties.
    """
    common = [k for k in a if k in b and a[k].shape == b[k].shape]
    one, other = {k: a[k] for k in common}, {k: b[k] for k in common}
    return [
        *names_of_one(a, b, names, "Both must have one architecture: check that these are the files you mean."),
        *shapes(a, b, names),
        *dtypes(one, other, names),
        *finite(a, names[0]),
        *finite(b, names[1]),
        *(_sameness(one, other, names) if sameness else []),
        *integers(one, names[0]),
        *(_float_buffers(one, other, names, model) if model else []),
        *ties(a, b, names),
    ]


def _sameness(a: Named, b: Named, names: tuple[str, str]) -> list[Finding]:
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


def _float_buffers(a: Named, b: Named, names: tuple[str, str], model: nn.Module) -> list[Finding]:
    """Float buffers that differ, except running statistics, which are estimated again."""
    where = [
        k
        for k, t in model.named_buffers()
        if k in a and t.is_floating_point() and not k.endswith(_RUNNING) and distance({k: a[k]}, {k: b[k]}) > 0
    ]
    remedy = f"A buffer is not walked: the whole path has {names[0]}'s, and {names[1]} is measured with its own."
    return finding("warning", f"float buffers of {names[0]} and {names[1]} differ", where, remedy)
