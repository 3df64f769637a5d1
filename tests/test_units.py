"""What a leg moves, layer kind by layer kind, and the numerical check behind a free scaling."""

import pytest
import torch
from helpers import tiny
from llpf_plugin.llpf.scale_invariance import confirmed, proposed, scaled
from torch import nn
from torch.nn.utils import parametrizations

from llpf_plugin import Task
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.scale_groups import Unit, units
from llpf_plugin.geometry.weights import clone, coordinates
from llpf_plugin.workspace import Gradient


def names(model: nn.Module) -> list[tuple[str, ...]]:
    return [u.names for u in units(model)]


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


def test_tied_weights_are_one_unit() -> None:
    embed, head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
    head.weight = embed.weight
    assert names(nn.Sequential(embed, head)) == [("0.weight",)]


def test_attention_and_recurrent_layers() -> None:
    heads = nn.Sequential(nn.MultiheadAttention(4, 2))
    assert names(heads) == [("0.in_proj_weight", "0.in_proj_bias"), ("0.out_proj.weight", "0.out_proj.bias")]
    matrices = [n[0] for n in names(nn.LSTM(3, 2))]
    assert matrices == ["weight_ih_l0", "weight_hh_l0"]


def test_a_unit_is_scaled_onto_its_sphere_with_its_vectors() -> None:
    weights = coordinates(nn.Linear(5, 4))
    unit = Unit("weight", ("bias",))
    after = scaled(weights, {"weight": unit}, {"weight": 0.5})
    assert sphere.variance(after["weight"]) == pytest.approx(0.5, rel=1e-5)
    torch.testing.assert_close(after["bias"] / weights["bias"], torch.full((4,), unit.factor(weights, 0.5)))


@pytest.mark.parametrize("part", [0.2, 5.0])
def test_the_numbers_confirm_what_the_graph_proposes(part: float) -> None:
    task = tiny.conv()
    weights = tiny.pair("conv")[0]
    own = {k: weights[k] for k in coordinates(task.model)}
    found = units(task.model, own)
    scalable = proposed(task, found)
    assert set(scalable) == {"conv1.weight", "conv2.weight"} and len(found) == 3
    gradient = Gradient(task)
    before = clone(task.model.state_dict())
    targets = {k: part * sphere.variance(own[k]) for k in own}
    assert confirmed(gradient, own, scalable, targets, slack=1e-3) == scalable
    assert tiny.same(clone(task.model.state_dict()), before)


def test_what_is_not_free_is_found_out_and_does_not_take_the_rest_with_it() -> None:
    task = tiny.conv()
    own = {k: tiny.pair("conv")[0][k] for k in coordinates(task.model)}
    found = {u.matrix: u for u in units(task.model, own)}
    targets = {k: 0.2 * sphere.variance(own[k]) for k in found}
    assert set(confirmed(Gradient(task), own, found, targets, slack=1e-3)) == {"conv1.weight", "conv2.weight"}


def test_an_epsilon_that_is_large_against_the_variance_is_found_out() -> None:
    task = tiny.conv()
    assert isinstance(task.model.bn1, nn.BatchNorm2d)
    own = {k: tiny.pair("conv")[0][k] for k in coordinates(task.model)}
    scalable = proposed(task, units(task.model, own))
    task.model.bn1.eps = 0.1
    targets = {k: 0.001 * sphere.variance(own[k]) for k in scalable}
    assert set(confirmed(Gradient(task), own, scalable, targets, slack=5e-4)) == {"conv2.weight"}


def test_a_model_that_does_not_run_has_no_proposal() -> None:
    broken = Task(nn.Linear(3, 3), tiny.mlp().train)
    assert proposed(broken, units(broken.model)) == {}
