"""Permutation groups from the trace, and that they change nothing."""

import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.symmetries import images, places, same_function, transformed
from torch import Tensor, nn

from llpf_plugin.alignment import match, symmetry
from llpf_plugin.tasks.models import MLP, SmallResNet

MODULE = sys.modules["llpf_plugin.alignment.symmetry"]  # the package has its function under this name


def test_an_mlp_has_one_group_a_hidden_layer() -> None:
    found = same_function(MLP(9, 6, 2, 3), images(1, 3))
    assert places(found) == {
        "1.weight[0]": {("1.weight", 0), ("1.bias", 0), ("3.weight", 1)},
        "3.weight[0]": {("3.weight", 0), ("3.bias", 0), ("5.weight", 1)},
    }
    assert found.left == {"5.weight": "the network's outputs"} and found.rejected == ()


def test_a_residual_stream_is_one_group_with_its_shortcut_and_its_statistics() -> None:
    found = same_function(SmallResNet(4, (2, 1), channels=1), images(1, 8))
    groups = places(found)
    assert len(groups) == 5  # two streams and the inside of three blocks
    stream = {("conv1.weight", 0), ("layer1.0.conv2.weight", 0), ("layer1.1.conv2.weight", 0)}
    assert stream | {("layer1.1.conv1.weight", 1), ("layer2.0.downsample.0.weight", 1)} <= groups["conv1.weight[0]"]
    assert {("bn1.running_var", 0), ("layer1.0.bn2.bias", 0)} <= groups["conv1.weight[0]"]
    assert tuple(found.left) == ("fc.weight",)


def test_heads_and_widths_of_attention_are_groups() -> None:
    layer = nn.TransformerEncoderLayer(12, 3, 10, dropout=0.0, batch_first=True)
    found = same_function(nn.Sequential(nn.Linear(5, 12), layer, nn.Linear(12, 2)), images(1, 5)[:, 0])
    assert {(g.name, g.kind, g.blocks, g.size) for g in found.groups} == {
        ("0.weight[0]", "permutation", 1, 12),  # after it a scale that the residual stream has too
        ("1.self_attn.in_proj_weight[0/0]", "permutation", 1, 3),
        ("1.self_attn.in_proj_weight[0/1]", "invertible", 3, 4),  # queries and keys
        ("1.self_attn.in_proj_weight[0/1]+24", "invertible", 3, 4),  # values and outputs
        ("1.linear1.weight[0]", "scaling", 1, 10),
    }


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", pytest.param("vgg11", marks=pytest.mark.slow)])
def test_networks_of_torchvision(name: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    found = same_function(torchvision.models.get_model(name, weights=None, num_classes=5), images(3, 32, 2))
    assert found.rejected == () and len(found.left) == 1
    assert len(found.groups) == {"resnet18": 12, "vgg11": 10, "mobilenet_v3_small": 27}[name]


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
    new: Any = transformed(found, model.state_dict())
    new["head.weight"] = new["embed.weight"]
    model.load_state_dict(new)
    assert torch.allclose(model(inputs), before) and len(found.groups) == 1
    assert {("embed.weight", 1), ("inner.weight", 0), ("inner.weight", 1)} <= places(found)[found.groups[0].name]


@pytest.mark.parametrize("large", [1, 1 << 26], ids=["tried in its own precision", "tried in float64"])
def test_the_model_is_left_as_it_was(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "LARGE", large)
    model = SmallResNet(4, (1, 1), channels=1)
    before = {k: t.clone() for k, t in model.state_dict().items()}
    symmetry(model, images(1, 8).float())
    assert model.training and all(torch.equal(t, before[k]) for k, t in model.state_dict().items())


def test_a_large_model_is_tried_in_its_own_precision_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.TransformerEncoderLayer(12, 3, 10, dropout=0.0, batch_first=True)
    model, x = nn.Sequential(nn.Linear(5, 12), layer, nn.Linear(12, 2)), images(1, 5)[:, 0].float()
    fine = symmetry(model, x)
    monkeypatch.setattr(MODULE, "LARGE", 1)
    coarse = symmetry(model, x)
    assert [(g.name, g.kind) for g in coarse.groups] == [(g.name, g.kind) for g in fine.groups]
    assert coarse.rejected == fine.rejected == () and coarse.left == fine.left


class Silent(nn.Module):
    """Its result holds no tensor, so that nothing can be verified."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> None:
        self.second(torch.relu(self.first(x)))


def test_what_cannot_be_verified_is_rejected() -> None:
    found = symmetry(Silent(), torch.ones(1, 4))
    assert found.groups == () and "first.weight[0]" in found.rejected


class Gated(nn.Module):
    """SwiGLU, its gate and its factor in one matrix, as Phi has it."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 12), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        gate, factor = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * factor)


@pytest.mark.parametrize("seed", range(5))
def test_the_linear_factor_of_a_gate_is_found_again_in_a_fused_matrix(seed: int) -> None:
    torch.manual_seed(seed)
    model, x = Gated().double(), torch.randn(3, 4, dtype=torch.float64)
    found = same_function(model, x)
    assert [(g.name, g.kind) for g in found.groups] == [("up.weight[0]", "permutation"), ("up.weight[0]+6·", "factors")]
    a = {k: t.clone() for k, t in model.state_dict().items()}
    assert match(a, transformed(found, a, seed), model, found).distance[1] < 1e-6


class GatedByZero(nn.Module):
    """A gate whose factor no weight writes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.first(x))
        return self.last(hidden * torch.zeros_like(hidden))


def test_a_gate_that_no_weight_writes_has_no_group() -> None:
    assert [g.kind for g in symmetry(GatedByZero(), torch.ones(3, 4)).groups] == ["permutation"]
