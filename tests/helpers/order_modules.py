"""Modules that are hard to trace: tied, repeated, in place, threaded, checkpointed, bound to values or gradients."""

import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 9)
        self.body = nn.Linear(6, 6)
        self.embedding = nn.Embedding(9, 6)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> dict[str, Any]:
        return {"logits": [self.head(torch.tanh(self.body(self.embedding(ids))))]}


class Repeated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(4, 4)
        self.first = nn.Linear(4, 4)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.second(self.first(x))
        return x


class Latents(nn.Module):
    """A container with direct parameters, a list of weights, a slice assignment, and an inner branch in place."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.eye(4)) for _ in range(3)])
        self.inner = nn.Linear(4, 4)
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        buffer = torch.zeros(2 * len(x) + 1, 4)
        buffer[: len(x)] = x @ self.weights[0]
        buffer[len(x) : -1] = self.inner(x)
        buffer[-1:] = self.token
        for weight in list(self.weights)[1:]:
            buffer = buffer @ weight
        return buffer, self.scale.exp()


class Threaded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last, self.hidden, self.first = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        results: list[Tensor] = []
        x = self.first(x)
        worker = threading.Thread(target=lambda: results.append(self.hidden(x)))
        worker.start()
        worker.join()
        return self.last(results[0])


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.a = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.b, checkpoint(self.a, x, use_reentrant=True), use_reentrant=False)


class ValueDependent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.a = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x * 2) if x.sum().item() > 1e9 else self.b(x)


class ForceField(nn.Module):
    """Needs gradients to run."""

    def __init__(self) -> None:
        super().__init__()
        self.energy, self.embed = nn.Linear(4, 1), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self.energy(torch.tanh(self.embed(x))).sum(), x)[0]
