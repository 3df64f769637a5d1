"""Permutation groups from the trace, and that they change nothing."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llpf_plugin.alignment.symmetry import Symmetry, symmetry
from llpf_plugin.tasks.models import MLP, LeNet5, SmallResNet


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


def test_an_mlp_has_one_group_a_hidden_layer() -> None:
    found = same_function(MLP(9, 6, 2, 3), images(1, 3))
    assert places(found) == {
        "1.weight[0]": {("1.weight", 0), ("1.bias", 0), ("3.weight", 1)},
        "3.weight[0]": {("3.weight", 0), ("3.bias", 0), ("5.weight", 1)},
    }
    assert found.left == ("5.weight",) and found.rejected == ()


def test_a_residual_stream_is_one_group_with_its_shortcut_and_its_statistics() -> None:
    found = same_function(SmallResNet(4, (2, 1), channels=1), images(1, 8))
    groups = places(found)
    assert len(groups) == 5  # two streams and the inside of three blocks
    stream = {("conv1.weight", 0), ("layer1.0.conv2.weight", 0), ("layer1.1.conv2.weight", 0)}
    assert stream | {("layer1.1.conv1.weight", 1), ("layer2.0.downsample.0.weight", 1)} <= groups["conv1.weight[0]"]
    assert {("bn1.running_var", 0), ("layer1.0.bn2.bias", 0)} <= groups["conv1.weight[0]"]
    assert found.left == ("fc.weight",)


def test_flattened_channels_are_permuted_in_blocks() -> None:
    found = same_function(LeNet5(), images(1, 28))
    block = next(p for g in found.groups for p in g.places if p.tensor == "fc1.weight" and p.axis == 1)
    assert block.sizes == (16, 5, 5) and block.factor == 0


def test_heads_and_widths_of_attention_are_groups() -> None:
    layer = nn.TransformerEncoderLayer(12, 3, 10, dropout=0.0, batch_first=True)
    found = same_function(nn.Sequential(nn.Linear(5, 12), layer, nn.Linear(12, 2)), images(1, 5)[:, 0])
    assert sorted((g.name, g.size) for g in found.groups) == [
        ("0.weight[0]", 12), ("1.linear1.weight[0]", 10), ("1.self_attn.in_proj_weight[0/1]", 3),
        ("1.self_attn.in_proj_weight[0/2]", 4),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", pytest.param("vgg11", marks=pytest.mark.slow)])
def test_networks_of_torchvision(name: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    found = same_function(torchvision.models.get_model(name, weights=None, num_classes=5), images(3, 32, 2))
    assert found.rejected == () and len(found.left) == 1
    assert len(found.groups) == {"resnet18": 12, "vgg11": 10, "mobilenet_v3_small": 27}[name]


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


class Sorted(nn.Module):
    """An operation without a rule between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(F.relu(self.second(torch.cumsum(self.first(x), 1))))


def test_an_operation_without_a_rule_fixes_what_it_touches() -> None:
    found = same_function(Sorted(), torch.randn(3, 4, dtype=torch.float64))
    assert [g.name for g in found.groups] == ["second.weight[0]"] and "first.weight" in found.left


class Indexed(nn.Module):
    """Units that are written through a transposed view: more than labels can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y.t().mul_(torch.arange(1.0, y.shape[0] + 1))
        return self.third(F.relu(self.second(y)))


def test_a_group_that_changes_the_output_is_rejected_by_name() -> None:
    found = same_function(Indexed(), torch.randn(5, 4, dtype=torch.float64))
    assert "third.weight" in found.left
    assert {g.name for g in found.groups} >= {"second.weight[0]"}


def test_tied_weights_are_permuted_once(seed: int = 0) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.inner = nn.Embedding(7, 6), nn.Linear(6, 6)
            self.head = nn.Linear(6, 7, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: Tensor) -> Tensor:
            h = self.embed(x)
            return self.head(h + F.relu(self.inner(h)))

    model = Tied().double().eval()
    inputs = torch.randint(0, 7, (2, 4), generator=torch.Generator().manual_seed(0))
    found, before = symmetry(model, inputs), model(inputs)
    new: Any = shuffled(found, model)
    new["head.weight"] = new["embed.weight"]
    model.load_state_dict(new)
    assert torch.allclose(model(inputs), before) and len(found.groups) == 1
    assert {("embed.weight", 1), ("inner.weight", 0), ("inner.weight", 1)} <= places(found)[found.groups[0].name]


def test_the_model_is_left_as_it_was() -> None:
    model = SmallResNet(4, (1, 1), channels=1)
    before = {k: t.clone() for k, t in model.state_dict().items()}
    symmetry(model, images(1, 8).float())
    assert model.training and all(torch.equal(t, before[k]) for k, t in model.state_dict().items())
