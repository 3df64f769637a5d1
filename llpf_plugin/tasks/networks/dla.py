"""Deep Layer Aggregation (Yu et al., 2018) for images of 32×32 pixels, as in pytorch-cifar (kuangliu).

Parts are named as there, so that its checkpoints fit.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with BatchNorm and a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, h, w] → [n, outputs, h/stride, w/stride]``."""
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class Root(nn.Module):
    """The aggregation: a 1×1 convolution of everything below, side by side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, parts: list[Tensor]) -> Tensor:
        """``[n, …, h, w]`` of several maps to ``[n, outputs, h, w]``."""
        return F.relu(self.bn(self.conv(torch.cat(parts, 1))))


class Tree(nn.Module):
    """Hierarchical aggregation: lower trees one after the other, then two blocks, and a root over all of them.

    Args:
        inputs: channels that come in.
        outputs: channels of every part and of the root.
        level: 1 for two blocks and their root; above that, the trees of all lower levels come first.
        stride: of the first block of every branch.
    """

    def __init__(self, inputs: int, outputs: int, level: int, stride: int) -> None:
        super().__init__()
        self.level = level
        self.root = Root((2 if level == 1 else level + 2) * outputs, outputs)
        for i in reversed(range(1, level)):
            self.add_module(f"level_{i}", Tree(inputs, outputs, i, stride))
        if level > 1:
            self.prev_root = BasicBlock(inputs, outputs, stride)
        self.left_node = BasicBlock(inputs if level == 1 else outputs, outputs, stride if level == 1 else 1)
        self.right_node = BasicBlock(outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, h, w] → [n, outputs, h/stride, w/stride]``."""
        parts = [self.prev_root(x)] if self.level > 1 else []
        for i in reversed(range(1, self.level)):
            x = self.get_submodule(f"level_{i}")(x)
            parts.append(x)
        left = self.left_node(x)
        return self.root([*parts, left, self.right_node(left)])


class DLA(nn.Module):
    """Three plain convolutions and four trees on ``[n, 3, 32, 32]``; 16,291,386 parameters for ten classes.

    Args:
        width: channels of the first convolution, 16 in DLA; all others in proportion.
        classes: number of outputs.
    """

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.base = _plain(3, width)
        self.layer1 = _plain(width, width)
        self.layer2 = _plain(width, 2 * width)
        self.layer3 = Tree(2 * width, 4 * width, 1, 1)
        self.layer4 = Tree(4 * width, 8 * width, 2, 2)
        self.layer5 = Tree(8 * width, 16 * width, 2, 2)
        self.layer6 = Tree(16 * width, 32 * width, 1, 2)
        self.linear = nn.Linear(32 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3, 32, 32] → [n, classes]``."""
        for part in (self.base, self.layer1, self.layer2, self.layer3, self.layer4, self.layer5, self.layer6):
            x = part(x)
        return self.linear(F.avg_pool2d(x, 4).flatten(1))


def _plain(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
