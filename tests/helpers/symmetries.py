"""Change all units that a symmetry names at random, and see that nothing changes."""

import torch
from torch import Tensor, nn

from llpf_plugin.alignment import Symmetry, symmetry
from llpf_plugin.alignment.symmetry import random_changes

Weights = dict[str, Tensor]


def transformed(found: Symmetry, weights: Weights, seed: int = 0) -> Weights:
    """Weights that compute the same, with random changes made to every group; tied names are not followed."""
    rng = torch.Generator().manual_seed(seed)
    result = found.absorbed(weights)
    for group in found.groups:
        for change in random_changes(group, rng):
            result = found.change(result, {group.name: change})
    return found.restored(result, weights)


def settled(model: nn.Module, inputs: Tensor) -> nn.Module:
    """The model with running statistics of its own, in float64."""
    model = model.double().train()
    for _ in range(3):
        model(inputs)
    return model.eval()


def same_function(model: nn.Module, inputs: Tensor) -> Symmetry:
    """Change every group at once: the output stays, the weights do not."""
    model = settled(model, inputs)
    found = symmetry(model, inputs)
    before, old = model(inputs), {k: t.clone() for k, t in model.state_dict().items()}
    new = transformed(found, old)
    model.load_state_dict(new)
    model.train().eval()
    assert torch.allclose(model(inputs), before, rtol=1e-9, atol=1e-9)
    moved = {place.tensor for group in found.groups for place in group.places}
    moved |= {absorption.gamma for group in found.groups for absorption in group.absorptions}
    assert {k for k in new if not torch.equal(new[k], old[k])} <= moved
    assert any(not torch.equal(new[k], old[k]) for k in moved)
    return found


def images(channels: int, side: int, n: int = 3) -> Tensor:
    return torch.randn(n, channels, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def places(found: Symmetry) -> dict[str, set[tuple[str, int]]]:
    return {group.name: {(place.tensor, place.axis) for place in group.places} for group in found.groups}
