"""The recipes by which the paper trains its endpoints (arXiv 2505.02604, table 6).

What table 6 leaves open is taken from the published code: every cosine and every step of the learning rate. A mode on
another variance sphere has another learning rate and weight decay; `OTHER_SPHERE` holds both.
"""

from collections.abc import Mapping

from llpf_plugin.tasks.recipe import Recipe

LENET5 = Recipe(epochs=20, lr=0.01, schedule="constant", batch_size=64)
RESNET18 = Recipe(epochs=30, lr=0.1, weight_decay=5e-4, schedule="one-cycle", batch_size=256)
RESNET18_CIFAR100 = Recipe(epochs=50, lr=0.1, weight_decay=5e-4, schedule="one-cycle", batch_size=256)
RESNET18_IMAGENET10 = Recipe(100, lr=0.1, weight_decay=1e-4, schedule="cosine", batch_size=256, final_lr=0.001)
COSINE = Recipe(epochs=120, lr=0.1, weight_decay=1e-4, schedule="cosine", batch_size=256)
"""VGG11, DenseNet, EfficientNet-B0, RegNetX-200MF and DLA."""
MOBILENETV2 = Recipe(200, lr=0.1, weight_decay=4e-5, schedule="multi-step", batch_size=128, milestones=(100,))
SHUFFLENETV2 = Recipe(300, lr=0.1, weight_decay=4e-5, schedule="multi-step", batch_size=256, milestones=(150, 225))
CCT7 = Recipe(
    300, lr=55e-5, weight_decay=6e-2, schedule="warmup-cosine", optimizer="adamw", batch_size=128,
    final_lr=1e-5, warmup=10,
)  # fmt: skip
RESNET20 = Recipe(164, lr=0.1, weight_decay=1e-4, schedule="multi-step", batch_size=128, milestones=(82, 123))
"""Not in table 6, where ResNet20 is AutoNEB's: He et al. (2016), section 4.2."""

OTHER_SPHERE: Mapping[str, Mapping[str, float]] = {
    "resnet18": {"lr": 0.2, "weight_decay": 1e-4},
    "dla": {"lr": 0.2, "weight_decay": 5e-4},
    "cct7": {"lr": 1e-3, "weight_decay": 1e-2},
}
"""By network, what `llpf_plugin.training.train` is given for a mode on another variance sphere."""
