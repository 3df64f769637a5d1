"""A training batch of which every rank takes its share."""

import torch
from torch.nn import Module
from torch.nn.modules.batchnorm import SyncBatchNorm

from llpf_plugin.documents import quoted
from llpf_plugin.errors import TaskError
from llpf_plugin.ranks.group import current, is_first, shared, together
from llpf_plugin.tasks.batches import Batch, Data, batch_size, divisible, move_batch, take

_CPU = torch.device("cpu")


def share_of(batch: Batch) -> tuple[Batch, float]:
    """This rank's examples of a batch, and which part of all of them these are.

    Raises:
        TaskError: there are fewer examples than ranks, or the batch cannot be taken apart.
    """
    group = current()
    if group.size == 1:
        return batch, 1.0
    count = batch_size(batch)
    if count < group.size:
        raise TaskError(
            f"a batch of {count} example{'s' if count > 1 else ''} cannot be shared by {group.size} ranks: "
            "start fewer ranks, or give a larger --batch-size"
        )
    if not divisible(batch):
        raise TaskError(
            f"a batch cannot be shared by {group.size} ranks, since not every tensor in it has one row for each of its "
            f"{count} examples: start one rank"
        )
    own = group.part(count)
    return take(batch, own), (own.stop - own.start) / count


def same_batch(data: Data, size: int, seed: int, step: int, device: torch.device) -> Batch:
    """A training batch that is the same on all ranks: where data do not repeat their batches, rank 0 draws it.

    Args:
        data: of this rank.
        size, seed, step: of the batch, as `Data.batch` takes them.
        device: where this rank's batches are.
    """
    if data.repeatable or not together():
        return data.batch(size, seed, step)
    first = is_first()
    batch = data.batch(size, seed, step) if first else None
    common = shared(move_batch(batch, _CPU) if first else None)
    return batch if first else move_batch(common, device)


def check_shared(model: Module, name: str) -> None:
    """Refuse a model whose normalizations wait for the other ranks by themselves.

    Raises:
        TaskError: it has synchronised BatchNorm.
    """
    if together() and any(isinstance(m, SyncBatchNorm) for m in model.modules()):
        raise TaskError(
            f"the model of {quoted(name)} has SyncBatchNorm, which waits for ranks that may be at another batch: build "
            "it with BatchNorm; every rank normalizes its own part of a batch"
        )
