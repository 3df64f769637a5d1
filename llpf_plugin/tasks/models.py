"""Small classifiers that the built-in tasks use."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Sequential):
    """Fully connected ReLU layers over flattened inputs: ``[n, …] → [n, classes]``."""

    def __init__(self, inputs: int, width: int, depth: int, classes: int) -> None:
        sizes = [inputs, *[width] * depth]
        hidden = [m for i, o in pairwise(sizes) for m in (nn.Linear(i, o), nn.ReLU())]
        super().__init__(nn.Flatten(), *hidden, nn.Linear(sizes[-1], classes))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with BatchNorm and a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, h, w] → [n, outputs, h/stride, w/stride]``."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class SmallResNet(nn.Module):
    """A ResNet; stage ``k`` has ``width·2ᵏ`` channels and, but for the first, halves the image.

    Args:
        width: channels of the stem and the first stage.
        blocks: basic blocks in each stage; ``(1, 1, 1)`` is the digits network and ResNet8, ``(2, 2, 2, 2)`` ResNet18.
        classes: number of outputs.
        channels: channels of the images.
        stem: kernel of the first convolution; one larger than 3 has a stride of 2 and max pooling after it, so that
            ``stem=7`` and ``(2, 2, 2, 2)`` are torchvision's ResNet18, name by name.
    """

    def __init__(
        self, width: int = 16, blocks: Sequence[int] = (1, 1, 1), classes: int = 10, channels: int = 3, stem: int = 3
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, stem, 1 if stem == 3 else 2, stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.Identity() if stem == 3 else nn.MaxPool2d(3, 2, 1)
        inputs = width
        self.stages = len(blocks)
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage
            layer = []
            for index in range(count):
                layer.append(BasicBlock(inputs, outputs, stride=2 if stage > 0 and index == 0 else 1))
                inputs = outputs
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, h, w] → [n, classes]``."""
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


class RowTransformer(nn.Module):
    """A pre-norm transformer that reads an image row by row: every row is a token, ``[n, 1, h, w] → [n, classes]``.

    Args:
        rows: tokens, the image's height.
        columns: features of a token, its width.
        width: features inside.
        depth: encoder layers.
        heads: of the attention.
        classes: number of outputs.
    """

    def __init__(
        self, rows: int = 8, columns: int = 8, width: int = 32, depth: int = 2, heads: int = 4, classes: int = 10
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(columns, width)
        self.position = nn.Embedding(rows, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, from the mean over the tokens."""
        x = self.embed(x.squeeze(1)) + self.position.weight
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class LeNet5(nn.Module):
    """LeNet-5 with ReLU and max pooling on 28×28 images: ``[n, 1, 28, 28] → [n, 10]``.

    Args:
        width: channels of the first convolution, 6 in LeNet-5; all other layers in proportion.
    """

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        second, first, last = 16 * width // 6, 120 * width // 6, 84 * width // 6
        self.conv1 = nn.Conv2d(1, width, 5, padding=2)
        self.conv2 = nn.Conv2d(width, second, 5)
        self.fc1 = nn.Linear(25 * second, first)
        self.fc2 = nn.Linear(first, last)
        self.fc3 = nn.Linear(last, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))
