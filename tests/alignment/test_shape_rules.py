"""Units behind flattening and concatenation."""

import torch
import torch.nn.functional as F
from helpers.symmetries import images, places, same_function
from torch import Tensor, nn

from llpf_plugin.tasks.models import LeNet5


def test_flattened_channels_are_permuted_in_blocks() -> None:
    found = same_function(LeNet5(), images(1, 28))
    block = next(p for g in found.groups for p in g.places if p.tensor == "fc1.weight" and p.axis == 1)
    assert block.index.shape == (1, 16, 25) and block.index[0, 1].tolist() == list(range(25, 50))


class Concatenated(nn.Module):
    """What one layer gives stands beside what it got, as in a DenseNet and at the skips of a U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 6)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.stem(x))
        return self.head(torch.cat([x, F.gelu(self.outer(F.gelu(self.inner(x))))], 1))


def test_what_is_concatenated_is_permuted_part_by_part() -> None:
    found = same_function(Concatenated(), torch.randn(3, 4, dtype=torch.float64))
    assert places(found) == {
        "stem.weight[0]": {("stem.weight", 0), ("stem.bias", 0), ("inner.weight", 1), ("head.weight", 1)},
        "inner.weight[0]": {("inner.weight", 0), ("inner.bias", 0), ("outer.weight", 1)},
        "outer.weight[0]": {("outer.weight", 0), ("outer.bias", 0), ("head.weight", 1)},
    }
    parts = [p.index.flatten().tolist() for g in found.groups for p in g.places if p.tensor == "head.weight"]
    assert parts == [list(range(6)), list(range(6, 12))] and tuple(found.left) == ("head.weight",)
