"""What ranks do with weights in shards: functions that a process of its own can import."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from helpers import tiny
from helpers.rank_work import Trail
from llpf_plugin import Compute, find_path
from llpf_plugin.errors import InterruptedRun
from llpf_plugin.geometry import moves, sphere
from llpf_plugin.geometry.placement import portable
from llpf_plugin.geometry.weights import Weights, clone, cosine, distance, norm
from llpf_plugin.ranks import current
from llpf_plugin.tasks import Task, TensorData
from llpf_plugin.workspace import Workspace


class Block(nn.Module):
    """Adds to a stream of some width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 3), nn.Linear(3, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, t, width]`` to the same."""
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Tied(nn.Module):
    """A language model of two residual blocks, whose head is its embedding."""

    def __init__(self, words: int = 11, width: int = 8) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(words, width), nn.Linear(width, words, bias=False)
        self.head.weight = self.embedding.weight
        self.blocks = nn.ModuleList([Block(width), Block(width)])

    def forward(self, tokens: Tensor) -> Tensor:
        """``[n, t] → [n, t, words]``."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def next_token(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Mean cross-entropy of the next token."""
    return F.cross_entropy(model(batch[0])[:, :-1].flatten(0, 1), batch[0][:, 1:].flatten())


def tied() -> Task:
    """A sum modulo 11, token by token."""
    tokens = torch.randint(0, 11, (64, 6), generator=torch.Generator().manual_seed(0)).cumsum(1) % 11
    data = TensorData(tokens, torch.zeros(64))
    return Task(Tied(), data, data, data, objective=next_token, name="tied", build=Tied)


TASKS = {"mlp": tiny.mlp, "tied": tied, "conv": tiny.conv}


def ends_of(name: str) -> tuple[Weights, Weights]:
    """Two networks of a task, trained if they are tiny ones."""
    if name != "tied":
        return tiny.pair(name)
    torch.manual_seed(0)
    return Tied().state_dict(), Tied().state_dict()


def trail(name: str, shard: bool, steps: int, **search: Any) -> list[Weights]:
    """Where a walk stands after every tick of its first steps, whole."""
    found = Trail(steps, 10**9)
    compute = Compute("cpu", shard=shard)
    with suppress(InterruptedRun):
        find_path(*ends_of(name), TASKS[name](), compute=compute, lr=0.05, callbacks=[found], **search)
    return [clone(weights, "cpu") for weights in found.weights]


Ended = tuple[str, int, int | None, float, bool]


def ended(methods: Sequence[tuple[str, Mapping[str, Any]]], name: str, shard: bool) -> list[Ended]:
    """How searches end: outcome, knots, gradient steps, dense maximum, connected."""
    found = []
    for method, search in methods:
        path = find_path(
            *ends_of(name), TASKS[name](), method, compute=Compute("cpu", shard=shard), points=2, sample=48, **search
        )
        assert path.outcome is not None and path.quality is not None
        steps, quality = path.cost.gradient_steps, path.quality
        found.append((path.outcome.name, len(path.knots), steps, quality.maximum, quality.connected))
    return found


def kept(name: str) -> tuple[int, int, int]:
    """Elements of the weights that this rank keeps, and of gradients; modules that are gathered by themselves."""
    workspace = Workspace(TASKS[name](), Compute("cpu", shard=True))
    workspace.backward(workspace.loss())
    parameters = list(workspace.model.parameters())
    gradients = sum(part_of(p.grad) for p in parameters if p.grad is not None)
    apart = sum(type(m).__name__.startswith("FSDP") for m in workspace.model.modules())
    return sum(map(part_of, parameters)), gradients, apart


def part_of(tensor: Any) -> int:
    """Elements of this rank's part."""
    return int(tensor.to_local().numel())


SHAPES = ((7, 5), (1, 5), (8, 4), (3,), (2, 2, 3))


def numbers(sharded: bool) -> dict[str, Any]:
    """What geometry says of some tensors, one of them constant, and what it makes of them."""
    rng = torch.Generator().manual_seed(1)
    drawn = [[torch.randn(shape, generator=rng) for shape in SHAPES] + [torch.full((5, 3), 0.1)] for _ in "ab"]
    if sharded:
        mesh = init_device_mesh("cpu", (current().size,))
        drawn = [[distribute_tensor(t, mesh, [Shard(0)]) for t in own] for own in drawn]
    one, other = ({str(i): t for i, t in enumerate(own)} for own in drawn)
    found: dict[str, Any] = {
        "moments": torch.tensor([[float(x) for x in sphere.moments(t)] for t in one.values()]),
        "gaps": moves.gaps(list(one.values()), list(other.values())),
        "norm": norm(one), "distance": distance(one, other), "cosine": cosine(one, other),
    }  # fmt: skip
    tensors = list(one.values())
    moves.move_(tensors, list(other.values()), torch.linspace(0, 1, len(tensors)))
    sphere.project_(tensors, [0.5 + i for i in range(len(tensors))])
    return {**found, "moved": [portable(t) for t in tensors]}


def refused(name: str, method: str, settings: Mapping[str, Any]) -> str:
    """What is said of a search with weights in shards that there cannot be."""
    from llpf_plugin.errors import LLPFError
    from llpf_plugin.methods.registry import make_method

    try:
        find_path(*ends_of(name), TASKS[name](), make_method(method, settings), compute=Compute("cpu", shard=True))
    except LLPFError as error:
        return str(error)
    return ""
