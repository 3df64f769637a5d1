"""A model's weights in shards: every rank keeps a part of each tensor, and gathers a block's when it runs (FSDP2)."""

from collections.abc import Sequence

import torch
from torch import nn

from llpf_plugin.errors import RankError
from llpf_plugin.ranks.group import current, together


def check_sharding() -> None:
    """Refuse to shard what only one process works on.

    Raises:
        RankError: there is one.
    """
    if not together():
        raise RankError("--shard spreads the weights over several ranks, and there is one: start it with torchrun")


def shard_(model: nn.Module, blocks: Sequence[str], device: torch.device) -> nn.Module:
    """Put a model's parameters on a device in shards, in place; gradients are summed over ranks.

    Args:
        model: the same on every rank, on the CPU.
        blocks: names of modules that run one after another; each is gathered by itself, the rest together.
        device: of this rank.

    Returns:
        The model, its parameters ``DTensor``s of which every rank has the rows ``[n / ranks, …]``.

    Raises:
        RankError: it cannot be done.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(device.type, (current().size,))
    try:
        for name in blocks:
            fully_shard(model.get_submodule(name), mesh=mesh)
        fully_shard(model, mesh=mesh)
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise RankError(f"the model cannot be sharded: {str(error).strip().splitlines()[0]}") from error
    for module in model.modules():
        if isinstance(module, FSDPModule):  # sums, as shares are weighted by their examples; gloo knows no others
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)
    return model
