"""Ranks that search together must have the same task, and must stay at the same place."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from llpf_plugin.checkpoint import fingerprint
from llpf_plugin.documents import listed
from llpf_plugin.errors import RankError
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.ranks.group import gathered, together, wait_for_all
from llpf_plugin.records import Tick
from llpf_plugin.search.progress import Callback, Searching
from llpf_plugin.tasks.batches import Batch
from llpf_plugin.tasks.shares import share_of
from llpf_plugin.workspace import Workspace

SPLITS = ("train", "validation", "test")


def check_task(workspace: Workspace, start: Weights, end: Weights, unreached: Sequence[str]) -> None:
    """Refuse ranks whose tasks have other data, or that the batches are too small for.

    Args:
        workspace: this rank's.
        start, end: complete state dicts of A and B.
        unreached: what its data do not reach.

    Raises:
        TaskError: a batch has fewer examples than there are ranks.
        RankError: says which rank, and what differs.
    """
    data = workspace.task.train
    batch = data.batch(workspace.batch_size, workspace.seed, 0) if data.repeatable else None
    if batch is not None:
        share_of(batch)
    splits = {name: getattr(workspace.task, name) for name in SPLITS}
    everybodys = gathered(
        {
            "the first training batch": _digest(batch),
            "the number of examples": {k: None if split is None else len(split) for k, split in splits.items()},
            "tensors that the models' files leave out": fingerprint(start) + fingerprint(end),
            "what the data reach of the model": list(unreached),
        }
    )
    for rank, own in enumerate(everybodys):
        if differ := [what for what, value in own.items() if value != everybodys[0][what]]:
            raise RankError(
                f"rank {rank} has another task than rank 0: {listed(differ)} differ; a batch must be a function of its "
                "seed and step, and the data the same on all machines"
            )


def _digest(batch: Batch) -> str:
    """A hash of the tensors of a batch."""
    found = hashlib.blake2b(digest_size=16)
    for tensor in Inputs((batch,)).tensors():
        own = tensor.detach().cpu().contiguous()
        found.update(repr((tuple(own.shape), str(own.dtype))).encode())
        found.update(own.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


class InStep(Callback):
    """Compares the ticks of all ranks, which walk with the same sums and should come to the same bits.

    It comes before what saves, so that all ranks have read the knots that are removed then.
    """

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """Refuse a tick that another rank has not made."""
        own: Mapping[str, Any] = {k: repr(v) for k, v in tick.to_json().items()}
        everybodys = gathered(own)
        for rank, other in enumerate(everybodys):
            if differ := [name for name, value in other.items() if value != everybodys[0][name]]:
                raise RankError(
                    f"rank {rank} has come apart from rank 0 at tick {len(search.progress.record)} "
                    f"({listed(differ)}): the machines compute differently; everything before is kept"
                )

    def on_measure(self, search: Searching, done: int, total: int) -> None:
        """Wait for the others."""
        wait_for_all()

    def on_end(self, search: Searching) -> None:
        """Wait for the others."""
        wait_for_all()


def in_step() -> list[Callback]:
    """What is hung into a search of several ranks."""
    return [InStep()] if together() else []
