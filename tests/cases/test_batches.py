"""Whatever a DataLoader gives and an objective takes apart: the inputs of the model are known from it, not guessed."""

from collections import UserDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.commands import merge, method
from torch import Tensor, nn
from torch.utils.data import DataLoader

from llpf_plugin import LoaderData, Task, align, find_path

X, Z = torch.randn(2, 64, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Two(nn.Module):
    """Two inputs meet in eight hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.out(F.relu(self.left(x) + self.right(z)))


class OneMapping(Two):
    """The two inputs come in one dictionary."""

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return super().forward(features["x"], features["z"])


class OneTuple(Two):
    """The two inputs come in one tuple."""

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return super().forward(*pair)


class Rated(Two):
    """One input, and a constant beside it."""

    def forward(self, x: Tensor, rate: int) -> Tensor:
        return super().forward(x, x) * (rate / 16000)


class Encoding(UserDict[str, Tensor]):
    """A mapping that is no dict, as tokenizers give it."""


@dataclass(frozen=True)
class Examples:
    """A batch as a dataclass of tensors."""

    x: Tensor
    z: Tensor
    labels: Tensor


def loaded(network: type[Two], item: Callable[[int], Any], run: Callable[[Any, Any], Tensor], **options: Any) -> Task:
    loader = DataLoader([item(i) for i in range(64)], 16, **options)
    return Task(network(), LoaderData(loader), objective=lambda m, b: F.cross_entropy(run(m, b), targets(b)))


def targets(batch: Any) -> Tensor:
    return batch[-1] if isinstance(batch, Sequence) else batch["labels"]


def two_inputs() -> Task:
    return loaded(Two, lambda i: (X[i], Z[i], Y[i]), lambda m, b: m(b[0], b[1]))


def a_pair_of_inputs() -> Task:
    return loaded(Two, lambda i: ((X[i], Z[i]), Y[i]), lambda m, b: m(*b[0]))


def a_mapping_as_argument() -> Task:
    return loaded(OneMapping, lambda i: ({"x": X[i], "z": Z[i]}, Y[i]), lambda m, b: m(b[0]))


def a_list_as_argument() -> Task:
    return loaded(OneTuple, lambda i: ((X[i], Z[i]), Y[i]), lambda m, b: m(tuple(b[0])))


def a_tuple_as_argument() -> Task:
    batches = [((x, z), y) for x, z, y in zip(X.split(16), Z.split(16), Y.split(16), strict=True)]
    return Task(OneTuple(), LoaderData(batches), objective=lambda m, b: F.cross_entropy(m(b[0]), b[1]))


def a_constant_beside_the_input() -> Task:
    return loaded(Rated, lambda i: (X[i], Y[i]), lambda m, b: m(b[0], 16000))


def an_encoding() -> Task:
    def collate(rows: list[tuple[Tensor, Tensor]]) -> Encoding:
        return Encoding({"input": torch.stack([x for x, _ in rows]), "labels": torch.stack([y for _, y in rows])})

    return loaded(Rated, lambda i: (X[i], Y[i]), lambda m, b: m(b["input"], 16000), collate_fn=collate)


def a_dataclass_as_batch() -> Task:
    def collate(items: list[int]) -> Examples:
        return Examples(X[items], Z[items], Y[items])

    loader = DataLoader(range(64), 16, collate_fn=collate)
    return Task(Two(), LoaderData(loader), objective=lambda m, b: F.cross_entropy(m(b.x, b.z), b.labels))


Kind = Callable[[], Task]
KINDS = [
    two_inputs, a_pair_of_inputs, a_mapping_as_argument, a_tuple_as_argument, a_constant_beside_the_input,
    a_list_as_argument, a_dataclass_as_batch, an_encoding,
]  # fmt: skip


def weights(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {name: 0.5 * torch.randn_like(tensor) for name, tensor in Two().state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_units_are_aligned(kind: Kind) -> None:
    a, units = weights(0), torch.randperm(8)
    b = {name: tensor[units] for name, tensor in a.items() if not name.startswith("out")}
    b |= {"out.weight": a["out.weight"][:, units], "out.bias": a["out.bias"]}
    assert align(a, b, kind()).distance[1] < 1e-6


def command(kind: Kind, folder: Path, *words: object) -> Any:
    for seed in (0, 1):
        torch.save(weights(seed), folder / f"{seed}.pt")
    task = f"{__file__}:{kind.__name__}"
    return merge(folder / "0.pt", folder / "1.pt", "--task", task, "-o", folder / "run", "--tolerance", 3, *words)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_shows_the_layers(tmp_path: Path, kind: Kind) -> None:
    result = command(kind, tmp_path, "--dry-run")
    assert result.code == 0, result.text
    assert all(layer in result.out for layer in ("left", "right", "out"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_walk_goes_layer_by_layer(tmp_path: Path, kind: Kind) -> None:
    result = command(kind, tmp_path, *method("llpf", phases="layer"), "--budget", 20, "--points", 1, "--no-report")
    assert result.code in (0, 3), result.text


def test_a_batch_may_be_a_mapping_of_any_kind() -> None:
    a, task = weights(0), an_encoding()
    stated = find_path(a, weights(1), task, method="linear", tolerance=5.0).quality.ends["A"]["train"]
    task.model.load_state_dict(a)
    assert stated == pytest.approx(float(F.cross_entropy(task.model(X, 16000), Y)), rel=1e-5)
