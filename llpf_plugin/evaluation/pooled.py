"""What ranks measured on the batches that each of them took, put together: the same numbers on every rank."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from llpf_plugin.evaluation.answers import Answer
from llpf_plugin.ranks.group import gathered, speaking, together


def pooled(answers: Mapping[int, Answer], norms: Sequence[nn.Module]) -> list[Answer]:
    """The answers of all ranks in the order of the batches.

    Args:
        answers: this rank's, by the number of the batch.
        norms: normalizations whose running statistics are the mean over this rank's batches; afterwards, over all.
    """
    if not together():
        return list(answers.values())
    if norms:
        _pool(norms, len(answers))
    own = {
        i: (a.size, float(a.loss), None if a.correct is None else float(a.correct), a.whole) for i, a in answers.items()
    }
    found = {i: answer for ranks in gathered(own) for i, answer in ranks.items()}
    return [_answer(*found[i]) for i in sorted(found)]


def _answer(size: int, loss: float, correct: float | None, whole: bool) -> Answer:
    numbers = [None if x is None else torch.tensor(x, dtype=torch.float64) for x in (loss, correct)]
    assert numbers[0] is not None
    return Answer(size, numbers[0], numbers[1], whole)


def _pool(norms: Sequence[nn.Module], batches: int) -> None:
    """The mean of the running statistics over the batches of all ranks; what saw none stays as it is."""
    counts = torch.tensor([_count(m, batches) for m in norms], dtype=torch.float64)
    buffers = [[t for t in (m.running_mean, m.running_var) if isinstance(t, Tensor)] for m in norms]
    parts = [t.double().cpu().reshape(-1) * n for n, own in zip(counts, buffers, strict=True) for t in own]
    flat = torch.cat([counts, *parts])
    with speaking():
        dist.all_reduce(flat)
    totals, rest = flat[: len(norms)], flat[len(norms) :]
    for m, own, total in zip(norms, buffers, totals, strict=True):
        for t in own:
            part, rest = rest[: t.numel()], rest[t.numel() :]
            if total > 0:
                t.copy_((part / total).view_as(t))
        counter = getattr(m, "num_batches_tracked", None)
        if isinstance(counter, Tensor) and not isinstance(m, _InstanceNorm):
            counter.fill_(int(total))


def _count(norm: nn.Module, batches: int) -> int:
    """How many batches a normalization has seen; one of instances does not count them itself."""
    counter = getattr(norm, "num_batches_tracked", None)
    return batches if isinstance(norm, _InstanceNorm) or not isinstance(counter, Tensor) else int(counter)
