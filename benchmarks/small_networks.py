"""Pairs of small networks of many kinds, trained by SGD and by AdamW: what a rule must hold on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llpf_plugin import Defaults, Task, TensorData, load_task
from llpf_plugin.evaluation import reestimate
from llpf_plugin.geometry import Weights, clone
from llpf_plugin.tasks.batches import Batch
from llpf_plugin.workspace import Workspace

TEXT = Path(__file__).parents[1] / "LICENSE"
WINDOW = 16
"""Bytes that a language model reads at once."""


@dataclass(frozen=True)
class Case:
    """A network with what is asked of paths between two of its kind.

    Attributes:
        task: makes the task; its model has fresh weights, by torch's global seed.
        epochs: passes over the training data.
        sgd, adamw: peak learning rates of the two ways to train, None where that one learns nothing.
        tolerance: the goal above the worse end's training loss.
    """

    task: Callable[[], Task]
    epochs: int
    sgd: float | None
    adamw: float | None
    tolerance: float = 0.1


def tokens(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and correct answers of a Hugging Face classifier."""
    inputs, targets = batch
    logits = model(inputs).logits
    return F.cross_entropy(logits, targets), (logits.argmax(-1) == targets).sum()


def next_token(model: nn.Module, batch: Batch) -> Tensor:
    """Mean cross-entropy of a Hugging Face language model, targets shifted already."""
    inputs, targets = batch
    return F.cross_entropy(model(inputs).logits.flatten(0, 1), targets.flatten())


def squares(model: nn.Module, batch: Batch) -> Tensor:
    """Mean squared error."""
    inputs, targets = batch
    return F.mse_loss(model(inputs), targets)


class Recurrent(nn.Module):
    """An LSTM that reads an image row by row: ``[n, 1, 8, 8] → [n, 10]``."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, from the last row's state."""
        states, _ = self.lstm(x.squeeze(1))
        return self.head(states[:, -1])


def on_digits(name: str, build: Callable[[], nn.Module]) -> Task:
    """Another network on the images of ``digits/mlp``."""
    digits = load_task("digits/mlp")
    splits = {split: getattr(digits, split) for split in ("train", "validation", "test")}
    return Task(build(), name=name, defaults=Defaults(64), **splits)


def plain_cnn() -> Task:
    """Three convolutions without normalization."""
    sizes = ((1, 8), (8, 16), (16, 16))
    layers = [m for i, o in sizes for m in (nn.Conv2d(i, o, 3, 1 + (i > 1), 1), nn.ReLU())]
    return on_digits("cnn", lambda: nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10)))


def vit() -> Task:
    """A vision transformer of timm's on patches of 2 × 2 pixels."""
    from timm.models.vision_transformer import VisionTransformer

    shape = {"img_size": 8, "patch_size": 2, "in_chans": 1, "num_classes": 10}
    return on_digits("vit", lambda: VisionTransformer(**shape, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2))


def bert() -> Task:
    """BERT with its dropout, on digits as 16 tokens."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=17, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=16, num_labels=10, attn_implementation="eager",
    )  # fmt: skip
    digits = load_task("digits/mlp")
    low, high = digits.train.inputs.min(), digits.train.inputs.max()

    def read(data: Any) -> TensorData:
        pooled = F.avg_pool2d((data.inputs - low) / (high - low) * 16, 2)
        return TensorData(pooled.round().long().clamp(0, 16).flatten(1), data.targets)

    splits = {split: read(getattr(digits, split)) for split in ("train", "validation", "test")}
    return Task(BertForSequenceClassification(config), objective=tokens, name="bert", defaults=Defaults(64), **splits)


def gpt2() -> Task:
    """GPT-2 without dropout on the bytes of the licence."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=128, n_positions=WINDOW, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, attn_implementation="eager",
    )  # fmt: skip
    data = torch.tensor(list(TEXT.read_bytes())).clamp(max=127).unfold(0, WINDOW + 1, 6)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    parts = data[order].split([1200, 200, len(data) - 1400])
    names = ("train", "validation", "test")
    splits = {name: TensorData(part[:, :-1], part[:, 1:]) for name, part in zip(names, parts, strict=True)}
    return Task(GPT2LMHeadModel(config), objective=next_token, name="gpt2", defaults=Defaults(64), **splits)


def regression(scale: float = 1.0) -> Task:
    """Four layers on a smooth function with values around 0.05, so that losses are small numbers.

    Args:
        scale: of half of the inputs, as where they are not standardised.
    """

    def drawn(n: int, seed: int) -> TensorData:
        x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
        y = 0.05 * torch.sin(x[:, :1] + x[:, 1:2] / 2) + 0.02 * x[:, 2:3].abs()
        return TensorData(x * torch.tensor([1.0, scale]).repeat(3), y)

    sizes = ((6, 48), (48, 48), (48, 48))
    layers = [m for i, o in sizes for m in (nn.Linear(i, o), nn.ReLU())]
    splits = {name: drawn(n, seed) for seed, (name, n) in enumerate({"train": 1200, "test": 300}.items())}
    model = nn.Sequential(*layers, nn.Linear(48, 1))
    return Task(model, objective=squares, name="regression", defaults=Defaults(64), **splits)


def resnet() -> Task:
    return load_task("digits/resnet", {"width": 8})


CASES: Mapping[str, Case] = {
    "mlp": Case(lambda: load_task("digits/mlp"), 25, 0.1, 0.003),
    "resnet": Case(resnet, 20, 0.1, 0.01),
    "transformer": Case(lambda: load_task("digits/transformer"), 40, 0.04, 0.003),
    "bert": Case(bert, 40, None, 0.003, 0.2),
    "gpt2": Case(gpt2, 15, 0.3, 0.005, 0.3),
    "vit": Case(vit, 30, 0.1, 0.003, 0.2),
    "cnn": Case(plain_cnn, 30, 0.05, 0.005),
    "regression": Case(regression, 60, 0.5, 0.005, 4e-4),
    "raw regression": Case(lambda: regression(8.0), 60, None, 0.005, 8e-4),
    "lstm": Case(lambda: on_digits("lstm", Recurrent), 40, 0.3, 0.01),
}


def made(case: Case, seed: int) -> Task:
    """The case's task, its model's weights drawn from a seed."""
    torch.manual_seed(seed)
    return case.task()


def trained(case: Case, optimizer: str, seed: int, place: Path) -> Weights:
    """A network of the case, from its file if it is there."""
    if not place.is_file():
        task, peak = made(case, seed), {"SGD": case.sgd, "AdamW": case.adamw}[optimizer]
        assert peak is not None
        workspace = Workspace(task, seed=seed)
        parameters = list(workspace.model.parameters())
        steps = case.epochs * (len(task.train) // workspace.batch_size)
        own: torch.optim.Optimizer = torch.optim.AdamW(parameters, peak, weight_decay=0.01)
        if optimizer == "SGD":
            own = torch.optim.SGD(parameters, peak, 0.9, weight_decay=5e-4 if task.name != "regression" else 0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(own, peak, total_steps=steps)
        for _ in range(steps):
            workspace.backward(workspace.loss())
            own.step()
            schedule.step()
        reestimate(workspace)
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.save(clone(workspace.model.state_dict(), "cpu"), place)
    return torch.load(place, weights_only=True)


@cache
def pair(name: str, optimizer: str, number: int, cache_folder: Path) -> tuple[Weights, Weights]:
    """Pair ``number``: the networks of the seeds 2·number and 2·number + 1."""
    seeds = (2 * number, 2 * number + 1)
    one, two = (trained(CASES[name], optimizer, s, cache_folder / f"{name}-{optimizer}-{s}.pt") for s in seeds)
    return one, two
