"""Many models in one frame: copies of one network become one, functions stay, and circles of maps close."""

from functools import cache

import pytest
import torch
from helpers import tiny
from helpers.symmetries import transformed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from llpf_plugin import Task
from llpf_plugin.alignment import Consensus, align, align_all, match, match_all, symmetry
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry.weights import coordinates, distance, norm, relative_distance, select

Weights = dict[str, Tensor]
X = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Tied(nn.Module):
    """A matrix that is read twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden, self.out = nn.Linear(6, 5, False), nn.Linear(5, 5), nn.Linear(6, 5, False)
        self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.hidden(torch.tanh(self.embed(x)))) @ self.out.weight


def relu() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 3))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 10, dropout=0.0, batch_first=True, norm_first=True)
    return nn.Sequential(nn.Linear(6, 8), nn.Unflatten(0, (1, -1)), layer, nn.LayerNorm(8), nn.Linear(8, 2))


NETWORKS = {"relu": relu, "tied": Tied, "encoder": encoder}


def network(name: str, seed: int = 0) -> nn.Module:
    """In float64, its scales and biases drawn too."""
    torch.manual_seed(seed)
    model = NETWORKS[name]().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    return model


def models(name: str, number: int, seed: int = 0) -> list[Weights]:
    """Networks that have nothing to do with each other."""
    return [weights_of(network(name, 10 * seed + i)) for i in range(number)]


def weights_of(model: nn.Module) -> Weights:
    return {k: t.clone() for k, t in model.state_dict().items()}


def copies(name: str, number: int, seed: int) -> tuple[nn.Module, list[Weights]]:
    """A network, and itself with its units changed at random."""
    model = network(name, seed)
    found, own = symmetry(model, X), weights_of(model)
    made = [transformed(found, own, seed + i) for i in range(1, number)]
    for weights in made if name == "tied" else ():
        weights["out.weight"] = weights["embed.weight"]
    return model, [own, *made]


def output(model: nn.Module, weights: Weights) -> Tensor:
    with torch.no_grad():
        return torch.func.functional_call(model, weights, (X,), tie_weights=False)


def spread(found: Consensus) -> float:
    return sum(length**2 for length in found.distances[1])


@cache
def met(name: str) -> tuple[nn.Module, list[Weights], Consensus]:
    """Three networks that have nothing to do with each other, in the frame of the second."""
    model, own = network(name), models(name, 3)
    return model, own, match_all(own, model, symmetry(model, X), frame=1)


@settings(max_examples=10)
@given(name=st.sampled_from(["relu", "tied"]), number=st.integers(2, 4), seed=st.integers(0, 1000))
def test_changed_copies_of_a_network_become_one(name: str, number: int, seed: int) -> None:
    become_one(name, number, seed)


def test_copies_become_one_whatever_their_scales_rotations_and_heads() -> None:
    become_one("encoder", 3, 1)


def become_one(name: str, number: int, seed: int) -> None:
    model, changed = copies(name, number, seed)
    found = match_all(changed, model, symmetry(model, X))
    size = norm(select(changed[0], coordinates(model)))
    assert min(found.distances[0]) > 0.01 * size and max(found.distances[1]) < 1e-6 * size
    assert relative_distance(found.mean, changed[0]) < 1e-6
    assert (output(model, found.mean) - output(model, changed[0])).abs().max() < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_every_model_computes_the_same_and_comes_nearer(name: str) -> None:
    model, own, found = met(name)
    for before, after, fresh in zip(own, found.weights, models(name, 3), strict=True):
        assert tiny.same(before, fresh) and list(after) == list(before)
        assert torch.allclose(output(model, after), output(model, before), rtol=1e-9, atol=1e-9)
    assert tiny.same(found.weights[1], own[1]) and found.changes[1] == ()
    assert spread(found) < sum(length**2 for length in found.distances[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_around_a_circle_of_models_end_where_they_began(name: str) -> None:
    model, own, found = met(name)
    there = own[1]
    for start, end in ((1, 2), (2, 0), (0, 1)):
        before, there = there, found.carry(there, start, end, own[end])
        assert relative_distance(there, before) > 0.01
        assert torch.allclose(output(model, there), output(model, own[1]), rtol=1e-9, atol=1e-9)
    assert relative_distance(there, own[1]) < 1e-9
    for i, weights in enumerate(own):
        assert relative_distance(found.carry(weights, i, found.frame, own[1]), found.weights[i]) < 1e-9


@settings(max_examples=10)
@given(order=st.permutations(range(4)), seed=st.integers(0, 100))
def test_the_order_of_models_does_not_matter_where_they_are_alike(order: list[int], seed: int) -> None:
    model, changed = copies("tied", 4, seed)
    rng, found = torch.Generator().manual_seed(seed), symmetry(model, X)
    near = [
        {k: t + 0.01 * torch.randn(t.shape, generator=rng, dtype=t.dtype) * t.std() for k, t in w.items()}
        for w in changed
    ]
    one = match_all(near, model, found)
    other = match_all([near[i] for i in order], model, found, frame=order.index(0))
    assert spread(other) == pytest.approx(spread(one), rel=1e-6)


def test_one_model_stays_as_it_is() -> None:
    own, model = models("relu", 1), network("relu")
    found = match_all(own, model, symmetry(model, X))
    assert tiny.same(found.weights[0], own[0]) and tiny.same(found.mean, own[0])
    assert found.distances == ((0.0,), (0.0,)) and found.rounds == 0


def test_of_two_models_the_second_is_matched_with_the_first() -> None:
    own, model = models("encoder", 2), network("encoder")
    symmetries = symmetry(model, X)
    found, pair = match_all(own, model, symmetries), match(*own, model, symmetries)
    assert tiny.same(found.weights[1], pair.weights)
    assert sum(found.distances[1]) == pytest.approx(pair.distance[1])


def test_a_frame_that_is_not_there_is_refused() -> None:
    own, model = models("relu", 2), network("relu")
    with pytest.raises(LLPFError, match="frame = 2 for 2 models"):
        match_all(own, model, symmetry(model, X), frame=2)
    with pytest.raises(LLPFError, match="0 models"):
        match_all([], model, symmetry(model, X))


def test_trained_networks_come_nearer_than_when_all_are_matched_with_the_first(conv: Task) -> None:
    own = [tiny.trained("conv", seed) for seed in (1, 2, 3, 4)]
    found, names = align_all(own, conv), list(coordinates(conv.model))
    firsts = [own[0], *(align(own[0], weights, conv).weights for weights in own[1:])]
    middle = {k: sum(w[k] for w in firsts) / 4 for k in names}
    assert spread(found) < 0.99 * sum(distance(middle, weights) ** 2 for weights in firsts)
    assert found.rounds > 1 and tiny.same(select(found.mean, names), mean_of(found, names))


def mean_of(found: Consensus, names: list[str]) -> Weights:
    return {k: torch.stack([w[k].double() for w in found.weights]).mean(0).float() for k in names}


def test_counters_are_the_frames_and_statistics_are_averaged(conv: Task) -> None:
    a, b = tiny.pair("conv")
    a["bn1.num_batches_tracked"].fill_(7)
    mean = align_all([b, a], conv, frame=1).mean
    assert mean["bn1.num_batches_tracked"] == 7
    assert torch.allclose(mean["bn1.running_var"].sum(), (a["bn1.running_var"] + b["bn1.running_var"]).sum() / 2)
