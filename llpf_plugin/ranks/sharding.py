"""A model's weights in shards: every rank keeps a part of each tensor, and gathers a block's when it runs (FSDP2)."""

import copy
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llpf_plugin.errors import RankError
from llpf_plugin.ranks.group import current, together


def traceable(model: nn.Module) -> nn.Module:
    """A copy on ``meta``, which has the model's layers, shapes and ties, and no values."""
    empty: dict[int, Tensor] = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in model.parameters()}
    empty |= {id(t): t.to("meta") for t in model.buffers()}
    return copy.deepcopy(model, empty)


def sharded(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a model whose parameters lie on the ranks' devices in shards; gradients are summed over ranks.

    Args:
        model: the same on every rank; it is left as it is.
        device: of this rank.

    Returns:
        The copy, its parameters ``DTensor``s of which every rank has the rows ``[n / ranks, …]``.

    Raises:
        RankError: there is one rank, the model keeps running statistics, which would be each rank's own, or it cannot
            be sharded.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not together():
        raise RankError("--shard spreads the weights over several ranks, and there is one: start it with torchrun")
    if any(getattr(m, "track_running_stats", False) for m in model.modules()):
        raise RankError(
            "the model keeps running statistics (BatchNorm), which cannot be measured in shards: leave --shard out"
        )
    mesh, own = init_device_mesh(device.type, (current().size,)), copy.deepcopy(model)
    try:
        for name in blocks(own):
            fully_shard(own.get_submodule(name), mesh=mesh)
        fully_shard(own, mesh=mesh, reshard_after_forward=True)  # what is there between batches are shards
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise RankError(f"the model cannot be sharded: {str(error).strip().splitlines()[0]}") from error
    for module in own.modules():
        if isinstance(module, FSDPModule):  # sums, as shares are weighted by their examples; gloo knows no others
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)
    return own


def blocks(model: nn.Module) -> Sequence[str]:
    """The names of the innermost repeated blocks, which are gathered one by one.

    A block is one of at least two siblings of one class in a list or a sequence that have modules of their own, and
    shares no parameter with the rest. (Behind a single layer, what works in place on a view of its output would go
    unnoticed by FSDP2.)
    """
    named = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    found: list[str] = []
    for place, module in model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential):
            continue
        composed = {name: m for name, m in module.named_children() if any(m.children())}
        kinds = Counter(type(m) for m in composed.values())
        prefix = f"{place}." if place else ""
        found += [prefix + name for name, m in composed.items() if kinds[type(m)] > 1 and _alone(m, named)]
    return [name for name in found if not any(other.startswith(f"{name}.") for other in found)]


def _alone(module: nn.Module, named: Counter[int]) -> bool:
    """Whether no parameter of a module has another name in the whole model; ``named`` counts them."""
    return all(named[id(p)] == 1 for p in module.parameters())
