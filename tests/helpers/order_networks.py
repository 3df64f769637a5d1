"""Two networks of the paper that no package at hand provides: CCT-7/3x1 and DLA, both for 32x32 images.

CCT follows Hassani et al., "Escaping the Big Data Paradigm with Compact Transformers" (2021); DLA follows Yu et al.,
"Deep Layer Aggregation" (2018), in its usual form for CIFAR-10.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Tokenizer(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, dim, 3, 1, 1, bias=False)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(F.relu(self.conv(x))).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (dim // self.heads) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, length, dim))


class EncoderLayer(nn.Module):
    def __init__(self, dim: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(dim)
        self.self_attn = Attention(dim, heads)
        self.linear1 = nn.Linear(dim, ratio * dim)
        self.norm1 = nn.LayerNorm(dim)
        self.linear2 = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(self.pre_norm(x)))
        return x + self.linear2(F.gelu(self.linear1(x)))


class Classifier(nn.Module):
    def __init__(self, dim: int, heads: int, depth: int, ratio: int, classes: int, length: int) -> None:
        super().__init__()
        self.positional_emb = nn.Parameter(torch.zeros(1, length, dim))
        self.attention_pool = nn.Linear(dim, 1)
        self.blocks = nn.ModuleList(EncoderLayer(dim, heads, ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.fc = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positional_emb
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.fc((self.attention_pool(x).softmax(1).transpose(1, 2) @ x).squeeze(1))


class CCT(nn.Module):
    """CCT-7/3x1 for 32x32 images; `dim` can be small for tests."""

    def __init__(self, dim: int = 256, heads: int = 4, depth: int = 7, ratio: int = 2, classes: int = 10) -> None:
        super().__init__()
        self.tokenizer = Tokenizer(dim)
        self.classifier = Classifier(dim, heads, depth, ratio, classes, 256)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.tokenizer(x))


class BasicBlock(nn.Module):
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
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class Root(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, xs: list[Tensor]) -> Tensor:
        return F.relu(self.bn(self.conv(torch.cat(xs, 1))))


class Tree(nn.Module):
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
        xs = [self.prev_root(x)] if self.level > 1 else []
        for i in reversed(range(1, self.level)):
            x = self.get_submodule(f"level_{i}")(x)
            xs.append(x)
        left = self.left_node(x)
        return self.root([*xs, left, self.right_node(left)])


def stem(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class DLA(nn.Module):
    """DLA for CIFAR-10; `width` 16 is the usual one."""

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        w = width
        self.base = stem(3, w)
        self.layer1 = stem(w, w)
        self.layer2 = stem(w, 2 * w)
        self.layer3 = Tree(2 * w, 4 * w, 1, 1)
        self.layer4 = Tree(4 * w, 8 * w, 2, 2)
        self.layer5 = Tree(8 * w, 16 * w, 2, 2)
        self.layer6 = Tree(16 * w, 32 * w, 1, 2)
        self.linear = nn.Linear(32 * w, classes)

    def forward(self, x: Tensor) -> Tensor:
        for part in (self.base, self.layer1, self.layer2, self.layer3, self.layer4, self.layer5, self.layer6):
            x = part(x)
        return self.linear(F.avg_pool2d(x, 4).flatten(1))
