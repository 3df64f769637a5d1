"""The models of the built-in tasks: shapes, and sizes as they are published."""

import pytest
import torch
from torch import nn

from llpf_plugin.tasks.models import MLP, LeNet5, RowTransformer, SmallResNet


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (MLP(64, 12, 3, 10), (1, 8, 8)),
        (SmallResNet(4, (1, 1, 1), channels=1), (1, 8, 8)),
        (SmallResNet(4, (2, 2, 2, 2), classes=7), (3, 32, 32)),
        (RowTransformer(width=8, depth=1, heads=2), (1, 8, 8)),
        (LeNet5(), (1, 28, 28)),
    ],
)
def test_scores_of_every_class(model: nn.Module, shape: tuple[int, ...]) -> None:
    classes = 7 if isinstance(model, SmallResNet) and model.fc.out_features == 7 else 10
    assert model(torch.zeros(5, *shape)).shape == (5, classes)


def test_lenet5_has_its_published_size() -> None:
    """61,706 with padded first convolution and full connections (156 + 2,416 + 48,120 + 10,164 + 850)."""
    assert size(LeNet5()) == 61_706


def test_resnet18_has_the_size_that_cifar_papers_give() -> None:
    assert size(SmallResNet(64, (2, 2, 2, 2))) == 11_173_962


def test_a_resnet_halves_the_image_but_in_its_first_stage() -> None:
    model = SmallResNet(4, (1, 1, 1))
    seen = []
    for stage in (1, 2, 3):
        model.get_submodule(f"layer{stage}").register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    model(torch.zeros(1, 3, 32, 32))
    assert seen == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]


def test_an_mlp_is_its_layers() -> None:
    kinds = [type(m).__name__ for m in MLP(6, 5, 2, 3)]
    assert kinds == ["Flatten", "Linear", "ReLU", "Linear", "ReLU", "Linear"]
