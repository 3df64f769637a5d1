"""Prefixes of names that a file has and a model lacks, or the other way round: taken off or put on, undone on writing.

A LightningModule that holds the network as ``self.model`` saves ``model.conv1.weight`` where the network itself says
``conv1.weight``. Which prefix it is follows from the names of both.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from llpf_plugin.checkpoint.record import Checkpoint
from llpf_plugin.documents import listed

_NAMED = 3


def fitted(found: Checkpoint, wanted: Iterable[str]) -> Checkpoint:
    """A checkpoint under the names that are wanted, as far as a prefix is all that differs.

    What lies outside of a prefix that is taken off, such as the weights of a loss, is none of the model's: it stays
    `Checkpoint.beside`. Where no prefix brings more names together, or several do, nothing is changed.

    Args:
        found: the checkpoint, as it was read.
        wanted: the names in the model, or in another checkpoint.
    """
    off, on = _best(found.weights.keys(), set(wanted))
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
    named = listed(list(names)[:_NAMED]) + (" …" if len(names) > _NAMED else "")
    return (f"{len(names)} of its tensors, which lie outside, are not the model's and stay as they are: {named}",)


def _best(names: Collection[str], wanted: Collection[str]) -> tuple[str, str]:
    """The prefix to take off and the one to put on, by which the most names are wanted ones; the shortest of them.

    None of either where another part of the names fits as well.
    """
    least = min(len(names), len(wanted))
    named, ends = _shared(names, least), _shared(wanted, least)
    scores = {
        (off, on): sum(on + k.removeprefix(off) in wanted for k in own) for off, own in named.items() for on in ends
    }
    best = max(scores, key=lambda pair: (scores[pair], -len(pair[0]) - len(pair[1])), default=("", ""))
    others = [off for (off, _), score in scores.items() if score == scores[best] and not off.startswith(best[0])]
    return ("", "") if others else best


def _shared(names: Collection[str], least: int) -> dict[str, Collection[str]]:
    """The names that have a prefix, up to a dot, if half as many have it as are looked for; of the empty one first."""
    having: dict[str, list[str]] = {}
    for name in names:
        for place, char in enumerate(name):
            if char == ".":
                having.setdefault(name[: place + 1], []).append(name)
    return {"": names, **{prefix: own for prefix, own in having.items() if 2 * len(own) >= least}}


def stored_beside(names: Mapping[str, str], there: str, name: str) -> str:
    """The stored name that another plain name has, if it differs as that of the name ``there`` does."""
    tail = _common_tail(there, names[there])
    return names[there].removesuffix(tail) + name.removeprefix(there.removesuffix(tail))


def _common_tail(one: str, other: str) -> str:
    """The last parts of two names, as far as they are the same."""
    parts, others = one.split("."), other.split(".")
    count = 0
    while count < min(len(parts), len(others)) and parts[-1 - count] == others[-1 - count]:
        count += 1
    return ".".join(parts[len(parts) - count :])
