"""What operations do to units: an unknown one fixes them."""

import torch
import torch.nn.functional as F
from helpers.symmetries import same_function
from torch import Tensor, nn


class Sorted(nn.Module):
    """An operation without a rule between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(F.relu(self.second(torch.cumsum(self.first(x), 1))))


def test_an_operation_without_a_rule_fixes_what_it_touches() -> None:
    found = same_function(Sorted(), torch.randn(3, 4, dtype=torch.float64))
    assert [g.name for g in found.groups] == ["second.weight[0]"] and "cumsum has no rule" in found.left["first.weight"]
