"""The recipes of the paper's table 6, literally."""

import pytest
import torch

from llpf_plugin import load_task
from llpf_plugin.tasks import table6, vision

TABLE_6 = """
mnist/lenet5            |  64 | SGD(0.9, 0)      |  20 | 0.01
cifar10/resnet18        | 256 | SGD(0.9, 5e-4)   |  30 | one-cycle 0.1
cifar100/resnet18       | 256 | SGD(0.9, 5e-4)   |  50 | one-cycle 0.1
cifar10/cct7            | 128 | AdamW(6e-2)      | 300 | warm-up 10: 1e-5 to 55e-5, cosine to 1e-5
cifar10/mobilenetv2     | 128 | SGD(0.9, 4e-5)   | 200 | 0.1, x0.1 at 100
cifar10/regnetx-200mf   | 256 | SGD(0.9, 1e-4)   | 120 | cosine 0.1 to 0
cifar10/shufflenetv2    | 256 | SGD(0.9, 4e-5)   | 300 | 0.1, x0.1 at 150, 225
cifar10/vgg11           | 256 | SGD(0.9, 1e-4)   | 120 | cosine 0.1 to 0
cifar10/densenet        | 256 | SGD(0.9, 1e-4)   | 120 | cosine 0.1 to 0
cifar10/efficientnet-b0 | 256 | SGD(0.9, 1e-4)   | 120 | cosine 0.1 to 0
cifar10/dla             | 256 | SGD(0.9, 1e-4)   | 120 | cosine 0.1 to 0
cifar100/dla            | 256 | SGD(0.9, 1e-4)   | 120 | cosine 0.1 to 0
"""
"""Network and data, batch, optimizer with momentum and weight decay, epochs, learning rate."""


def in_words(name: str) -> list[str]:
    """The recipe of a built-in task in the columns above."""
    recipe = load_task(name).recipe
    optimizer = {
        "sgd": f"SGD({recipe.momentum:g}, {recipe.weight_decay:g})",
        "adamw": f"AdamW({recipe.weight_decay:g})",
    }[recipe.optimizer]
    rate = {
        "constant": f"{recipe.lr:g}",
        "one-cycle": f"one-cycle {recipe.lr:g}",
        "cosine": f"cosine {recipe.lr:g} to {recipe.final_lr:g}",
        "multi-step": f"{recipe.lr:g}, x0.1 at {', '.join(map(str, recipe.milestones))}",
        "warmup-cosine": f"warm-up {recipe.warmup}: {recipe.final_lr:g} to {recipe.lr:g}, "
        f"cosine to {recipe.final_lr:g}",
    }[recipe.schedule]
    return [name, str(recipe.batch_size), optimizer, str(recipe.epochs), rate]


def normal(text: str) -> str:
    """Numbers in one form: 5e-4 and 0.0005."""
    words = text.replace("(", "( ").replace(")", " )").replace(",", " ,").replace(":", " :").split()
    return " ".join(f"{float(w):g}" if w[0].isdigit() else w for w in words)


@pytest.mark.parametrize("line", TABLE_6.strip().splitlines(), ids=lambda line: line.split()[0])
def test_every_task_has_the_recipe_of_table_6(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {"MNIST": torch.zeros(30, 1, 28, 28)}
    monkeypatch.setattr(
        vision, "_read", lambda name, *_, **__: (images.get(name, torch.zeros(30, 3, 32, 32)), torch.zeros(30).long())
    )
    name, *columns = (column.strip() for column in line.split("|"))
    found = in_words(name)
    assert list(map(normal, found[1:])) == list(map(normal, columns))
    assert str(load_task(name).defaults.batch_size) == columns[0], "a walk settles on batches of the same size"


def test_modes_on_other_spheres_have_the_lower_half_of_table_6() -> None:
    assert table6.OTHER_SPHERE == {
        "resnet18": {"lr": 0.2, "weight_decay": 1e-4},
        "dla": {"lr": 0.2, "weight_decay": 5e-4},
        "cct7": {"lr": 1e-3, "weight_decay": 1e-2},
    }


def test_what_stands_outside_of_table_6() -> None:
    """ImageNet10's recipe is the published code's, ResNet20's that of He et al. (2016)."""
    imagenet = table6.RESNET18_IMAGENET10
    assert (imagenet.epochs, imagenet.lr, imagenet.final_lr, imagenet.weight_decay) == (100, 0.1, 0.001, 1e-4)
    assert (imagenet.schedule, imagenet.batch_size, imagenet.momentum) == ("cosine", 256, 0.9)
    resnet20 = table6.RESNET20
    assert (resnet20.epochs, resnet20.lr, resnet20.milestones, resnet20.batch_size) == (164, 0.1, (82, 123), 128)
    assert (resnet20.schedule, resnet20.weight_decay, resnet20.momentum) == ("multi-step", 1e-4, 0.9)
