"""The loss and the gradient of a batch of which every rank has a part: sums over ranks, in few flat buffers."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from llpf_plugin.ranks.group import speaking, together

BUCKET = 25 * 2**20
"""Bytes of one buffer at most, but for a single larger tensor; the next is filled while one is under way."""


class _Mean(torch.autograd.Function):
    """Forward the sum over ranks of ``weight · loss``; backward only this rank's term, for gradients are summed too."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        total = loss.detach().double() * weight
        with speaking():
            dist.all_reduce(total)
        return total.to(loss.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        return grads[0] * ctx.weight, None


def mean_loss(loss: Tensor, weight: float) -> Tensor:
    """The mean loss of a batch, the same bits on every rank.

    Args:
        loss: 0-d, the mean over this rank's part.
        weight: the part's share of the examples; all ranks' shares add up to 1.

    Returns:
        0-d; its gradient is this rank's term of the batch's, see `sum_gradients`.
    """
    if not together():
        return loss
    found: Tensor = _Mean.apply(loss, weight)
    return found


@torch.no_grad()
def sum_gradients(tensors: Iterable[Tensor]) -> None:
    """Put the sum over ranks into every ``grad``; what has none on any rank stays without.

    Sharded tensors are left alone, for their engine has summed their gradients.

    Args:
        tensors: the same ones in the same order on every rank.
    """
    if not together():
        return
    under_way = []
    with speaking():
        for bucket in _buckets([t for t in tensors if t.requires_grad and not hasattr(t, "full_tensor")]):
            flat = _flat(bucket)
            under_way.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in under_way:
            work.wait()
            _unflatten(bucket, flat)


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type on one device, in the order in which a backward pass reaches them."""
    bucket: list[Tensor] = []
    size = 0
    for t in reversed(tensors):
        if bucket and (size + t.nbytes > BUCKET or (t.dtype, t.device) != (bucket[0].dtype, bucket[0].device)):
            yield bucket
            bucket, size = [], 0
        bucket.append(t)
        size += t.nbytes
    if bucket:
        yield bucket


def _flat(bucket: list[Tensor]) -> Tensor:
    """Their gradients in one row, zeros where there is none; then for each of them whether there is one."""
    grads = [(torch.zeros_like(t) if t.grad is None else t.grad).reshape(-1) for t in bucket]
    return torch.cat([*grads, grads[0].new_tensor([float(t.grad is not None) for t in bucket])])


def _unflatten(bucket: list[Tensor], flat: Tensor) -> None:
    *sums, present = flat.split([*(t.numel() for t in bucket), len(bucket)])
    found = [(t, own.view_as(t)) for t, own in zip(bucket, sums, strict=True)]
    known = [(t.grad, own) for t, own in found if t.grad is not None]
    torch._foreach_copy_([grad for grad, _ in known], [own for _, own in known])
    if len(known) < len(bucket):  # only then, for to look is to wait for the device
        for (t, own), there in zip(found, present.tolist(), strict=True):
            if t.grad is None and there:
                t.grad = own.clone()
