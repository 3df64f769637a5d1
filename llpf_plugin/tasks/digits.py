"""Tasks on scikit-learn's 8×8 digits: 1,797 images that come with scikit-learn."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.data import TensorData
from llpf_plugin.tasks.models import MLP, RowTransformer, SmallResNet
from llpf_plugin.tasks.recipe import Recipe
from llpf_plugin.tasks.task import Defaults, Task

TRAIN, VALIDATION = 1197, 300
"""Images of the first two splits; the last 300 are the test split."""

CLASSES = tuple("0123456789")


def splits() -> dict[str, Any]:
    """Training (1,197), validation (300) and test (300) images ``[n, 1, 8, 8]``, standardised by the training split."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise TaskError("the digits tasks need scikit-learn: pip install 'llpf-plugin[demo]'") from error
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(data.images, dtype=torch.float32)[order].unsqueeze(1)
    targets = torch.tensor(data.target)[order]
    images = (images - images[:TRAIN].mean()) / images[:TRAIN].std()
    sizes = [TRAIN, VALIDATION, len(images) - TRAIN - VALIDATION]
    pairs = zip(images.split(sizes), targets.split(sizes), strict=True)
    return dict(zip(("train", "validation", "test"), (TensorData(x, y) for x, y in pairs), strict=True))


def _task(name: str, build: Callable[[], nn.Module], lr: float = 0.05, epochs: int = 25) -> Task:
    recipe = Recipe(epochs, lr=2 * lr, weight_decay=5e-4)
    defaults = Defaults(batch_size=64, lr=lr)
    return Task(build(), name=name, defaults=defaults, recipe=recipe, build=build, classes=CLASSES, **splits())


def mlp(width: int = 64, depth: int = 4) -> Task:
    """A fully connected network of ``depth`` hidden layers, no normalization."""
    return _task("digits/mlp", partial(MLP, 64, int(width), int(depth), 10))


def resnet(width: int = 16, blocks: int = 1) -> Task:
    """A ResNet of three stages of ``blocks`` blocks, with BatchNorm."""
    return _task("digits/resnet", partial(SmallResNet, int(width), [int(blocks)] * 3, channels=1))


def transformer(width: int = 32, depth: int = 2, heads: int = 4) -> Task:
    """A pre-norm transformer of ``depth`` layers on the rows of an image, with LayerNorm."""
    build = partial(RowTransformer, 8, 8, int(width), int(depth), int(heads))
    return _task("digits/transformer", build, lr=0.02, epochs=60)
