"""Shuffle all units that a symmetry names, and see that nothing changes."""

import torch
from torch import Tensor, nn

from llpf_plugin.alignment import Symmetry, symmetry


def shuffled(found: Symmetry, model: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    orders = {group.name: torch.randperm(group.size, generator=rng) for group in found.groups}
    return found.permute(model.state_dict(), orders)


def settled(model: nn.Module, inputs: Tensor) -> nn.Module:
    """The model with running statistics of its own, in float64."""
    model = model.double().train()
    for _ in range(3):
        model(inputs)
    return model.eval()


def same_function(model: nn.Module, inputs: Tensor) -> Symmetry:
    """Shuffle every group at once: the output stays, the weights do not."""
    model = settled(model, inputs)
    found = symmetry(model, inputs)
    before, old = model(inputs), {k: t.clone() for k, t in model.state_dict().items()}
    new = shuffled(found, model)
    model.load_state_dict(new)
    model.train().eval()
    assert torch.allclose(model(inputs), before, rtol=1e-9, atol=1e-9)
    moved = {place.tensor for group in found.groups for place in group.places}
    assert {k for k in new if not torch.equal(new[k], old[k])} <= moved
    assert any(not torch.equal(new[k], old[k]) for k in moved)
    return found


def images(channels: int, side: int, n: int = 3) -> Tensor:
    return torch.randn(n, channels, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def places(found: Symmetry) -> dict[str, set[tuple[str, int]]]:
    return {group.name: {(place.tensor, place.axis) for place in group.places} for group in found.groups}
