"""Which weights can be scaled at no cost: the graph's proposal for every kind of normalization, and the numbers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from llpf_plugin.order import layer_order, scale_free


def free(model: nn.Module, *names: str, shape: tuple[int, ...] = (2, 4, 6, 6)) -> bool:
    graph = layer_order(model, torch.randn(shape, generator=torch.Generator().manual_seed(0))).graph
    assert graph is not None
    return scale_free(graph, names)


def conv(bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, bias=bias)


NORMS = {
    "batch": nn.BatchNorm2d(4),
    "group": nn.GroupNorm(2, 4),
    "instance": nn.InstanceNorm2d(4, affine=True),
    "layer": nn.LayerNorm([4, 4, 4]),
    "RMS": nn.RMSNorm([4, 4, 4]),
}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())
def test_what_only_a_normalization_reads_may_be_scaled_with_its_bias(norm: nn.Module) -> None:
    model = nn.Sequential(conv(), nn.ReLU(), norm, nn.Flatten(), nn.Linear(64, 3))
    assert free(model, "0.weight", "0.bias")
    assert not free(model, "0.weight") and not free(
        model, "0.bias"
    )  # a bias in between matters unless it is scaled along
    assert not free(model, "4.weight", "4.bias") and not free(model, "2.weight")


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())
@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.5, 3))
def test_the_proposal_holds_in_numbers(norm: nn.Module, factor: float) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(conv(), nn.ReLU(), norm), 3 * torch.randn(2, 4, 6, 6)  # epsilon is small against these
    model.train()  # BatchNorm by the statistics of what it sees
    with torch.no_grad():
        before = model(x)
        for p in model[0].parameters():
            p.mul_(factor)
        after = model(x)
        for p in model[0].parameters():
            p.div_(factor)
    torch.testing.assert_close(after, before, rtol=1e-2, atol=1e-2)


def test_a_smooth_activation_in_between_spoils_it() -> None:
    assert not free(nn.Sequential(conv(False), nn.GELU(), nn.BatchNorm2d(4)), "0.weight")
    assert free(nn.Sequential(conv(False), nn.LeakyReLU(0.1), nn.MaxPool2d(2), nn.BatchNorm2d(4)), "0.weight")


def test_the_direction_of_a_weight_normalised_layer_but_not_its_magnitude() -> None:
    layer = parametrizations.weight_norm(conv())
    names = ("parametrizations.weight.original0", "parametrizations.weight.original1", "bias")
    magnitude, direction, bias = (f"0.{name}" for name in names)
    model = nn.Sequential(layer)
    assert free(model, direction)
    assert not free(model, magnitude) and not free(model, direction, bias)


def test_a_spectrally_normalised_layer() -> None:
    model = nn.Sequential(parametrizations.spectral_norm(conv()))
    assert free(model, "0.parametrizations.weight.original")
    assert not free(model, "0.parametrizations.weight.original", "0.bias")


class Tied(nn.Module):
    """An embedding whose weights are the head's, too."""

    def __init__(self, normed_head: bool) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(7, 4), nn.LayerNorm(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.after = nn.LayerNorm(7) if normed_head else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.head(self.norm(self.embed(x))))


@pytest.mark.parametrize("normed_head", [True, False])
def test_tied_weights_need_a_normalization_behind_every_use(normed_head: bool) -> None:
    graph = layer_order(Tied(normed_head), torch.arange(6).view(2, 3)).graph
    assert graph is not None and scale_free(graph, ("embed.weight",)) is normed_head


class Shortcut(nn.Module):
    """A residual block: two terms that meet at different scales."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = conv(False), nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.norm(x + self.conv(x))


def test_a_sum_needs_both_of_its_terms_scaled() -> None:
    assert free(Shortcut(), "stem.weight")  # both terms come from it
    assert not free(Shortcut(), "conv.weight")


def test_attention_scales_with_its_values_and_not_with_its_scores() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(40, 3))
    names = ("0.self_attn.in_proj_weight", "0.self_attn.in_proj_bias", "0.linear2.weight", "0.linear2.bias")
    assert not any(free(model, *pair, shape=(2, 5, 8)) for pair in (names[:2], names[2:]))
