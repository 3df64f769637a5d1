"""What a leg moves, layer kind by layer kind."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.scale_groups import ScaleGroup, rescale_, scale_groups, variances
from llpf_plugin.geometry.weights import clone, coordinates


def names(model: nn.Module) -> list[tuple[str, ...]]:
    return [group.names for group in scale_groups(model)]


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4, affine=True),
        nn.LayerNorm([4, 3]),
        nn.RMSNorm([4, 3]),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_normalizations_never_walk(norm: nn.Module) -> None:
    with torch.no_grad():
        for p in norm.parameters():
            p.add_(torch.randn_like(p))
    assert names(nn.Sequential(nn.Linear(5, 4), norm)) == [("0.weight", "0.bias")]


def test_the_direction_of_a_weight_normalised_layer_walks_alone() -> None:
    assert names(nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 4)))) == [
        ("0.parametrizations.weight.original1",)
    ]
    with pytest.warns(FutureWarning):
        assert names(nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 4)))) == [("0.weight_v",)]


def test_magnitudes_are_on_no_sphere() -> None:
    own = coordinates(nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 4))))
    assert list(sphere.spheres(own)) == ["0.parametrizations.weight.original1"]


def test_a_spectrally_normalised_layer_walks_as_any_other() -> None:
    found = names(nn.Sequential(parametrizations.spectral_norm(nn.Linear(5, 4))))
    assert found == [("0.parametrizations.weight.original", "0.bias")]


def test_tied_weights_are_one_group() -> None:
    embed, head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
    head.weight = embed.weight
    assert names(nn.Sequential(embed, head)) == [("0.weight",)]


def test_attention_and_recurrent_layers() -> None:
    heads = nn.Sequential(nn.MultiheadAttention(4, 2))
    assert names(heads) == [("0.in_proj_weight", "0.in_proj_bias"), ("0.out_proj.weight", "0.out_proj.bias")]
    matrices = [n[0] for n in names(nn.LSTM(3, 2))]
    assert matrices == ["weight_ih_l0", "weight_hh_l0"]


def test_a_group_is_scaled_onto_its_sphere_with_its_vectors() -> None:
    weights = coordinates(nn.Linear(5, 4))
    group, after = ScaleGroup("weight", ("bias",)), clone(weights)
    rescale_(after, [group], {"weight": 0.5})
    assert sphere.variance(after["weight"]) == pytest.approx(0.5, rel=1e-5)
    torch.testing.assert_close(after["bias"] / weights["bias"], torch.full((4,), group.factor(weights, 0.5)))


def test_factor_and_variances_by_hand() -> None:
    weights = {"a": torch.tensor([[1.0, 3.0]]), "b": torch.tensor([[0.0, 6.0]], dtype=torch.float64)}  # 1 and 9
    assert ScaleGroup("a").factor(weights, 4.0) == pytest.approx(2.0)
    found = variances(weights, [ScaleGroup("b"), ScaleGroup("a")])
    assert found.dtype == torch.float64 and found.tolist() == pytest.approx([9.0, 1.0])


def test_what_has_no_sphere_makes_no_group() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2), nn.PReLU(2))
    nn.init.constant_(model[1].weight, 0.5)
    assert names(model) == [("0.weight", "0.bias")]
    given = {k: t + torch.eye(2) if k == "1.weight" else t for k, t in coordinates(model).items()}
    assert [group.names for group in scale_groups(model, given)] == [("0.weight", "0.bias"), ("1.weight", "1.bias")]
