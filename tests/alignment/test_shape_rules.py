"""Units behind flattening and concatenation."""

import torch
import torch.nn.functional as F
from helpers.symmetries import images, same_function
from torch import Tensor, nn

from llpf_plugin.tasks.models import LeNet5


def test_flattened_channels_are_permuted_in_blocks() -> None:
    found = same_function(LeNet5(), images(1, 28))
    block = next(p for g in found.groups for p in g.places if p.tensor == "fc1.weight" and p.axis == 1)
    assert block.sizes == (16, 5, 5) and block.factor == 0


class Concatenated(nn.Module):
    """What one layer gives stands beside what it got: the order of both is fixed, that of the inner layer is not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 6)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        return self.head(torch.cat([x, self.outer(F.relu(self.inner(x)))], 1))


def test_what_is_concatenated_is_left_alone_and_named() -> None:
    found = same_function(Concatenated(), torch.randn(3, 4, dtype=torch.float64))
    assert [g.name for g in found.groups] == ["inner.weight[0]"]
    assert found.left == ("stem.weight", "outer.weight", "head.weight")
