"""Compact Convolutional Transformers (Hassani et al., 2021) for small images.

Module names, initial weights, dropout of the attention (0.1) and stochastic depth (0 to 0.1) are those of the authors'
code (Compact-Transformers), so that its checkpoints fit.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.optional import torchvision

PLANES = 64
"""Of all convolutions of a tokenizer but the last."""
DROP = 0.1


class Tokenizer(nn.Module):
    """Convolutions with max pooling, each of which halves the image; what is left are the tokens."""

    def __init__(self, dim: int, convolutions: int) -> None:
        super().__init__()
        planes = [3, *[PLANES] * (convolutions - 1), dim]
        self.conv_layers = nn.Sequential(
            *[
                nn.Sequential(nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
                for i, o in pairwise(planes)
            ]
        )
        for layer in self.conv_layers:
            nn.init.kaiming_normal_(layer[0].weight)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3, h, w] → [n, tokens, dim]``."""
        return self.conv_layers(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention of several heads; queries, keys and values have no bias."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, tokens, dim] → [n, tokens, dim]``."""
        n, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, dropout_p=DROP if self.training else 0.0)
        return self.proj(heads.transpose(1, 2).reshape(n, tokens, dim))


class EncoderLayer(nn.Module):
    """Attention and two linear layers, each on a branch that is left out with probability ``drop`` while training."""

    def __init__(self, dim: int, heads: int, ratio: int, drop: float) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(dim)
        self.self_attn = Attention(dim, heads)
        self.linear1 = nn.Linear(dim, ratio * dim)
        self.norm1 = nn.LayerNorm(dim)
        self.linear2 = nn.Linear(ratio * dim, dim)
        self.drop_path = torchvision("ops").StochasticDepth(drop, "row") if drop else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[n, tokens, dim] → [n, tokens, dim]``; the second norm stands on the trunk, as in the authors' code."""
        x = self.norm1(x + self.drop_path(self.self_attn(self.pre_norm(x))))
        return x + self.drop_path(self.linear2(F.gelu(self.linear1(x))))


class Classifier(nn.Module):
    """A transformer over tokens with learnt positions, and a weighted mean over the tokens (sequence pooling)."""

    def __init__(self, dim: int, heads: int, depth: int, ratio: int, classes: int, tokens: int) -> None:
        super().__init__()
        self.attention_pool = nn.Linear(dim, 1)
        self.positional_emb = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, tokens, dim), std=0.2))
        drops = torch.linspace(0, DROP, depth).tolist()
        self.blocks = nn.ModuleList(EncoderLayer(dim, heads, ratio, drop) for drop in drops)
        self.norm = nn.LayerNorm(dim)
        self.fc = nn.Linear(dim, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, tokens, dim] → [n, classes]``."""
        x = x + self.positional_emb
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.fc((self.attention_pool(x).softmax(1).transpose(1, 2) @ x).squeeze(1))


class CCT(nn.Module):
    """CCT-7/3×1 by default; CCT-2/3×2 has ``dim=128, heads=2, depth=2, ratio=1, convolutions=2``.

    Args:
        dim: of the tokens, a multiple of ``heads``.
        heads: of the attention.
        depth: encoder layers.
        ratio: features between the two linear layers, over ``dim``.
        classes: number of outputs.
        convolutions: of the tokenizer, each of which halves the image.
        side: height and width of the images, in pixels.

    Raises:
        TaskError: ``dim`` is not a multiple of ``heads``.
    """

    def __init__(
        self, dim: int = 256, heads: int = 4, depth: int = 7, ratio: int = 2, classes: int = 10, convolutions: int = 1,
        side: int = 32,
    ) -> None:  # fmt: skip
        super().__init__()
        if dim % heads:
            raise TaskError(
                f"a width of {dim} does not split into the {heads} heads of CCT: give a multiple of {heads}"
            )
        self.tokenizer = Tokenizer(dim, convolutions)
        self.classifier = Classifier(dim, heads, depth, ratio, classes, (side // 2**convolutions) ** 2)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3, side, side] → [n, classes]``."""
        return self.classifier(self.tokenizer(x))
