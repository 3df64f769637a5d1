"""Layer-wise learning rates: by hand on a small network, and beside the depths that timm has by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order import layer_order, param_groups


class Blocks(nn.Module):
    """Registered from the output to the input, so that the order of registration is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(3))
        self.stem = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_depths_follow_the_data() -> None:
    groups = param_groups(Blocks(), 0.1, 0.5, torch.zeros(1, 3))
    assert [group["param_names"][0] for group in groups] == [
        "stem.weight", "blocks.0.0.weight", "blocks.1.0.weight", "blocks.2.0.weight", "head.weight",
    ]  # fmt: skip
    assert [group["lr"] for group in groups] == [0.1 / 16, 0.1 / 8, 0.1 / 4, 0.1 / 2, 0.1]
    assert groups[1]["param_names"] == ["blocks.0.0.weight", "blocks.0.0.bias", "blocks.0.1.weight", "blocks.0.1.bias"]


def test_vectors_get_no_weight_decay_and_frozen_parameters_no_group() -> None:
    model = Blocks()
    model.stem.requires_grad_(False)
    groups = param_groups(model, 0.1, 0.5, torch.zeros(1, 3), weight_decay=0.3)
    assert [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups] == [
        (0.1 / 8, 0.3, 1), (0.1 / 8, 0.0, 3), (0.1 / 4, 0.3, 1), (0.1 / 4, 0.0, 3), (0.1 / 2, 0.3, 1),
        (0.1 / 2, 0.0, 3), (0.1, 0.3, 1), (0.1, 0.0, 1),
    ]  # fmt: skip
    optimizer = torch.optim.AdamW(groups)
    assert [group["name"] for group in optimizer.param_groups][:2] == ["blocks.0.0", "blocks.0.0"]


@given(st.floats(0.01, 1.0), st.sampled_from(["all", "layer", "block", "stage", 2]))
def test_every_parameter_is_in_one_group_and_rates_never_fall(decay: float, depths: str | int) -> None:
    model = Blocks()
    groups = param_groups(model, 1.0, decay, torch.zeros(1, 3), depths=depths)
    names = [name for group in groups for name in group["param_names"]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    rates = [group["lr"] for group in groups]
    assert rates == sorted(rates) and rates[-1] == 1.0


def test_an_order_that_is_there_is_taken() -> None:
    model = Blocks()
    order = layer_order(model, torch.zeros(1, 3))
    assert len(param_groups(model, 1.0, order=order)) == 5
    with pytest.raises(OrderError, match="not that of this Linear: only one of them has bias"):
        param_groups(nn.Linear(2, 2), 1.0, order=order)


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.5, float("nan")])
def test_a_decay_that_is_none(decay: float) -> None:
    with pytest.raises(OrderError, match=r"does not lie in \(0, 1\]"):
        param_groups(Blocks(), 1.0, decay, torch.zeros(1, 3))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_no_two_parameters_are_ordered_against_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    from timm.models import group_parameters

    with torch.device("meta"):
        model = timm.create_model(name).eval()
        groups = param_groups(model, 1.0, 0.5, torch.zeros(1, 3, 224, 224))
    ours = {parameter: depth for depth, group in enumerate(groups) for parameter in group["param_names"]}
    theirs = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    apart = [(a, b) for a in ours for b in ours if theirs[a] < theirs[b]]
    assert len(apart) > 1000
    assert not [(a, b) for a, b in apart if ours[a] > ours[b]]
    assert sum(ours[a] == ours[b] for a, b in apart) <= 4  # the last norm, which timm counts with the last block
