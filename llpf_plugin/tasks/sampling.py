"""Samples: examples of a split drawn without replacement, from every class its share, fixed by a seed."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from llpf_plugin.tasks.batches import Batch, Data, Examples, Held, batch_size, divisible, join, shape, take

EVAL_BATCH = 512
"""Examples of one evaluation batch at most."""


def generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """A generator seeded by a hash of ``key``, so that neighbouring seeds and steps are unrelated."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)


def draw(data: Data, n: int | None, seed: int) -> Examples:
    """A sample of a split.

    Args:
        data: a `Data`; one that cannot draw from itself is read once.
        n: examples, None for all.
        seed: names the sample.

    Returns:
        The examples, shuffled; all of data that cannot be indexed come in their own order.
    """
    if hasattr(data, "draw"):
        drawn: Examples = data.draw(n, seed)
        return drawn
    return data if n is None else Held(picked(data.batches(EVAL_BATCH), n, seed))


def choose(count: int, n: int | None, seed: int, labels: Tensor | None = None) -> Tensor:
    """Which of ``count`` examples a sample consists of, in random order.

    Args:
        count: all examples.
        n: examples of the sample, None for all.
        seed: names the sample.
        labels: the class of each example ``[count]``; every class then gives its share, to within one example.
    """
    rng = generator("cpu", seed, "sample")
    order = torch.randperm(count, generator=rng)
    if n is None or n >= count:
        return order
    if labels is None:
        return order[:n]
    by_class = order[labels.cpu()[order].argsort(stable=True)]
    places = ((torch.arange(n) + torch.rand(1, generator=rng, dtype=torch.float64)) * count / n).long()
    return by_class[places.clamp(max=count - 1)][torch.randperm(n, generator=rng)]


def classes(targets: Any, count: int) -> Tensor | None:
    """Targets as class labels ``[count]``; None where they are none."""
    try:
        labels = torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError):
        return None
    return labels if labels.shape == (count,) and not (labels.is_floating_point() or labels.is_complex()) else None


class Rows:
    """Examples of tensors in memory, in the order of an index.

    Args:
        inputs: ``[count, …]``.
        targets: ``[count, …]``.
        index: which examples ``[n]``.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, index: Tensor) -> None:
        self.inputs, self.targets, self.index = inputs, targets, index.to(inputs.device)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Copies, so that a model may write into them; batches of equal sizes, to within one example."""
        for rows in self.index.tensor_split(math.ceil(len(self) / size)):
            yield self.inputs[rows], self.targets[rows]

    def __len__(self) -> int:
        return len(self.index)


def picked(batches: Iterable[Batch], n: int, seed: int) -> list[Batch]:
    """Batches of ``n`` examples of one pass over the data: those with the smallest of random keys.

    Batches that cannot be taken apart are picked as they are, until they hold ``n`` examples.
    """
    rng = generator("cpu", seed, "sample")
    kept: list[tuple[float, Batch]] = []
    for batch in batches:
        size = batch_size(batch)
        parts = size if divisible(batch) else 1
        bound = kept[-1][0] if _enough(kept, n) else math.inf
        for i, key in enumerate(torch.rand(parts, generator=rng).tolist()):
            if key < bound:
                kept.append((key, batch if parts == 1 else take(batch, slice(i, i + 1))))
        kept.sort(key=lambda pair: pair[0])
        while _enough(kept[:-1], n):
            kept.pop()
    return joined([batch for _, batch in kept])


def _enough(kept: list[tuple[float, Batch]], n: int) -> bool:
    return len(kept) >= n or sum(batch_size(batch) for _, batch in kept) >= n


def joined(batches: Iterable[Batch], size: int = EVAL_BATCH) -> list[Batch]:
    """The same examples in few batches: what has tensors of the same shapes goes together."""
    groups: dict[Any, list[Batch]] = {}
    for batch in batches:
        groups.setdefault(shape(batch) if divisible(batch) else object(), []).append(batch)
    return [join(group[i : i + size]) for group in groups.values() for i in range(0, len(group), size)]
