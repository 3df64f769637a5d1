"""Prefixes of names that a file has and a model lacks, or the other way round: taken off or put on, undone on writing.

A LightningModule that holds the network as ``self.model`` saves ``model.conv1.weight`` where the network itself says
``conv1.weight``. Which prefix it is follows from the names of both.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from llpf_plugin.checkpoint.record import Checkpoint

_NAMED = 3


def fitted(found: Checkpoint, wanted: Iterable[str]) -> Checkpoint:
    """A checkpoint under the names that are wanted, as far as a prefix is all that differs.

    What lies outside of a prefix that is taken off, such as the weights of a loss, is none of the model's: it stays
    `Checkpoint.beside`. Where no prefix brings more names together, nothing is changed.

    Args:
        found: the checkpoint, as it was read.
        wanted: the names in the model, or in another checkpoint.
    """
    wanted = set(wanted)
    off, on = _best(found.weights.keys(), wanted)
    if not (off or on):
        return found
    renamed = {k: on + k.removeprefix(off) for k in found.weights if k.startswith(off)}
    outside = [k for k in found.names if k not in renamed]
    changed = replace(
        found,
        weights={new: found.weights[k] for k, new in renamed.items()},
        names={renamed[k]: stored for k, stored in found.names.items() if k in renamed},
        shards={renamed.get(k, found.names[k]): file for k, file in found.shards.items()},
        beside={**found.beside, **{found.names[k]: found.weights[k] for k in outside}},
    )
    return replace(changed, notes=(*_without_old(found), *said(changed.names), *_beside(outside)))


def said(names: Mapping[str, str]) -> tuple[str, ...]:
    """One line on the prefix by which plain names differ from the stored ones, if there is one.

    Args:
        names: the stored name by plain name.
    """
    plain, stored = next(iter(names.items()), ("", ""))
    if all(k == s for k, s in names.items()):
        return ()
    tail = _common_tail(plain, stored)
    off, on = stored.removesuffix(tail), plain.removesuffix(tail)
    if not all(off + k.removeprefix(on) == s for k, s in names.items()):
        return ("what wrappers put into its names, such as _orig_mod, is taken out, and put back on writing",)
    taken = f"the prefix {off!r} of its names is taken off" if off else ""
    put = f"the prefix {on!r} is put on its names" if on else ""
    return (f"{' and '.join(filter(None, (taken, put)))}, which is undone on writing",)


def _without_old(found: Checkpoint) -> tuple[str, ...]:
    """The notes without the one on a prefix, which is said anew."""
    old = said(found.names)
    return tuple(note for note in found.notes if note not in old)


def _beside(names: Collection[str]) -> tuple[str, ...]:
    if not names:
        return ()
    listed = ", ".join(list(names)[:_NAMED]) + (" …" if len(names) > _NAMED else "")
    return (f"{len(names)} of its tensors, which lie outside, are not the model's and stay as they are: {listed}",)


def _best(names: Collection[str], wanted: Collection[str]) -> tuple[str, str]:
    """The prefix to take off and the one to put on, by which the most names are wanted ones; the shortest of them.

    None at all where two parts of a file fit equally well, such as a student and its teacher.
    """
    scores = {
        (off, on): sum(on + k.removeprefix(off) in wanted for k in names if k.startswith(off))
        for off in _shared(names)
        for on in _shared(wanted)
    }
    best = max(scores, key=lambda pair: (scores[pair], -len(pair[0]) - len(pair[1])), default=("", ""))
    others = [off for (off, _), score in scores.items() if score == scores.get(best)]
    nested = all(off.startswith(best[0]) or best[0].startswith(off) for off in others)
    return best if nested else ("", "")


def _shared(names: Collection[str]) -> list[str]:
    """Every prefix, up to a dot, that at least half of the names have; the empty one first."""
    counts: dict[str, int] = {}
    for name in names:
        for place, char in enumerate(name):
            if char == ".":
                counts[name[: place + 1]] = counts.get(name[: place + 1], 0) + 1
    return ["", *(prefix for prefix, count in counts.items() if 2 * count >= len(names))]


def _common_tail(one: str, other: str) -> str:
    """The last parts of two names, as far as they are the same."""
    parts, others = one.split("."), other.split(".")
    count = 0
    while count < min(len(parts), len(others)) and parts[-1 - count] == others[-1 - count]:
        count += 1
    return ".".join(parts[len(parts) - count :])
