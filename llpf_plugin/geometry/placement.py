"""Where a tensor lies: whole on its device, or in shards over ranks (FSDP2's ``DTensor``).

What works element by element works on this rank's part alone; what sums over a tensor sums over the parts of all ranks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether every rank has a part of it; asked without importing what makes such tensors."""
    return hasattr(tensor, "full_tensor")


def local(tensor: Tensor) -> Tensor:
    """This rank's part, in the tensor's own memory; the tensor itself where it is whole."""
    own: Any = tensor
    part: Tensor = own.to_local() if is_sharded(tensor) else tensor
    return part


def locals_of(weights: Mapping[str, Tensor]) -> list[Tensor]:
    """This rank's part of every tensor."""
    return [local(t) for t in weights.values()]


def whole(tensor: Tensor) -> Tensor:
    """All of it, on its device; of a sharded tensor every rank must ask for it."""
    own: Any = tensor
    if not is_sharded(tensor):
        return tensor
    gathered: Tensor = own.full_tensor()
    return gathered


def portable(tensor: Tensor) -> Tensor:
    """The tensor as a file holds it: itself, or a sharded one whole and on the CPU."""
    return whole(tensor).cpu() if is_sharded(tensor) else tensor


@torch.no_grad()
def placed(tensor: Tensor, like: Tensor) -> Tensor:
    """A copy of a tensor, on the device, of the dtype and in the shards of another one of its shape."""
    if not is_sharded(like):
        return tensor.detach().to(like.device, like.dtype, copy=True)
    return copy_(torch.empty_like(like), tensor)


@torch.no_grad()
def copy_(target: Tensor, source: Tensor) -> Tensor:
    """Write ``source`` into ``target``, which may be sharded where ``source`` is whole on every rank."""
    part = source if is_sharded(target) == is_sharded(source) else _part(source, target)
    local(target).copy_(local(part))
    return target


def _part(tensor: Tensor, of: Any) -> Tensor:
    """The part of a whole tensor that this rank has of a sharded one."""
    (placement,), mesh = of.placements, of.device_mesh
    parts, rank = tensor.chunk(mesh.size(), placement.dim), mesh.get_local_rank()
    return parts[rank] if rank < len(parts) else tensor.narrow(placement.dim, 0, 0)


def mean_of(tensor: Any) -> Tensor:
    """The mean of a tensor, 0-d, with its graph; of a sharded one the same on every rank."""
    if not is_sharded(tensor):
        found: Tensor = tensor.mean()
        return found
    from torch.distributed.tensor import Replicate

    total: Any = tensor.sum() / tensor.numel()
    mean: Tensor = total.redistribute(placements=[Replicate()])
    return mean


def begins(tensor: Any) -> bool:
    """Whether this rank's part of a sharded tensor is the first."""
    return bool(tensor.device_mesh.get_local_rank() == 0)


def totals(values: Tensor, tensors: Sequence[Any]) -> Tensor:
    """Sums over all ranks of what each has found of its parts of some tensors, in place; as they are of whole ones."""
    sharded = next((t for t in tensors if is_sharded(t)), None)
    if sharded is not None:
        dist.all_reduce(values, group=sharded.device_mesh.get_group())
    return values


def total(value: float, tensors: Sequence[Tensor]) -> float:
    """`totals` of one number."""
    if not any(map(is_sharded, tensors)):
        return value
    return float(totals(torch.tensor([value], dtype=torch.float64, device=tensors[0].device), tensors))
