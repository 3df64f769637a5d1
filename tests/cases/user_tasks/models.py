"""Models whose parameters and buffers are frozen, shared, empty, or of another type."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from llpf_plugin import Task
from user_tasks.base import Wrapped, X, Y, factory, net, splits


@factory
def some_frozen() -> Task:
    model = net()
    model[0].weight.requires_grad_(False)
    return Task(model, **splits())


@factory
def all_frozen() -> Task:
    return Task(net().requires_grad_(False), **splits())


@factory
def an_unused_layer() -> Task:
    model = Wrapped()
    model.extra = nn.Linear(3, 3)
    return Task(model, **splits())


@factory
def an_uninitialized_layer() -> Task:
    return Task(nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(3)), **splits())


class Three(nn.Module):
    """Three layers, the first two of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(relu(self.b(relu(self.a(x)))))


@factory
def a_shared_weight() -> Task:
    model = Three()
    model.b.weight = model.a.weight
    return Task(model, **splits())


@factory
def a_shared_module() -> Task:
    model = Three()
    model.b = model.a
    return Task(model, **splits())


class Views(nn.Module):
    """Two weights in one piece of memory, which overlap or do not."""

    def __init__(self, rows: int, second: int) -> None:
        super().__init__()
        memory = torch.randn(rows, 8) * 0.3
        self.a, self.b, self.c = nn.Parameter(memory[:8]), nn.Parameter(memory[second:]), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(relu(relu(x @ self.a.T) @ self.b.T))


@factory
def weights_beside_each_other() -> Task:
    return Task(Views(16, 8), **splits())


@factory
def weights_that_overlap() -> Task:
    return Task(Views(12, 4), **splits())


# ---- types


@factory
def statistics_in_half_precision() -> Task:
    model = net(norm=True)
    model[1].running_mean, model[1].running_var = model[1].running_mean.half(), model[1].running_var.half()
    return Task(model, **splits())


@factory
def half_precision() -> Task:
    return Task(net().half(), **splits(X.half()))


@factory
def half_precision_for_floats() -> Task:
    return Task(net().half(), **splits())


@factory
def bfloat16() -> Task:
    return Task(net().bfloat16(), **splits(X.bfloat16()))


@factory
def double_precision() -> Task:
    return Task(net().double(), **splits(X.double()))


@factory
def on_the_meta_device() -> Task:
    with torch.device("meta"):
        return Task(net(), **splits())


# ---- parameters and buffers that are none of the usual


@factory
def no_parameters() -> Task:
    return Task(nn.Flatten(), **splits())


class Scaling(nn.Module):
    """One number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(()))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3] * self.scale


@factory
def one_number() -> Task:
    return Task(Scaling(), **splits())


def with_parameter(extra: Callable[[], nn.Parameter], name: str = "extra") -> Task:
    """The network with one more parameter, which does nothing."""
    model = Wrapped()
    model.register_parameter(name, extra())
    return Task(model, **splits())


@factory
def a_parameter_without_elements() -> Task:
    return with_parameter(lambda: nn.Parameter(torch.empty(0, 4)))


@factory
def a_constant_parameter() -> Task:
    return with_parameter(lambda: nn.Parameter(torch.ones(4, 4)))


@factory
def a_parameter_of_integers() -> Task:
    return with_parameter(lambda: nn.Parameter(torch.ones(4).long(), requires_grad=False))


@factory
def a_parameter_called_metadata() -> Task:
    return with_parameter(lambda: nn.Parameter(torch.randn(3, 3)), "__metadata__")


class Complex(Wrapped):
    """A weight of complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Parameter(torch.randn(8, 8, dtype=torch.complex64) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.view_as_real(x.to(torch.complex64) @ self.extra)[..., 0])


@factory
def a_complex_parameter() -> Task:
    return Task(Complex(), **splits())


class Counting(Wrapped):
    """A float buffer that counts batches."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return self.net(x)


@factory
def a_buffer_that_counts() -> Task:
    return Task(Counting(), **splits())


class Transient(Wrapped):
    """A random buffer that no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.rand(8), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * self.mask)


@factory
def a_buffer_that_is_not_saved() -> Task:
    return Task(Transient(), **splits())


class Extra(Wrapped):
    """State that is no tensor."""

    z = 3

    def get_extra_state(self) -> Any:
        return {"z": self.z}

    def set_extra_state(self, state: Any) -> None:
        self.z = state["z"]


@factory
def extra_state() -> Task:
    return Task(Extra(), **splits())


class Embedded(nn.Module):
    """An embedding with sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(50, 8, sparse=True), nn.Linear(8, 3)

    def forward(self, i: Tensor) -> Tensor:
        return self.head(self.embedding(i))


@factory
def sparse_gradients() -> Task:
    i = torch.randint(0, 50, (256,), generator=torch.Generator().manual_seed(1))
    return Task(Embedded(), **splits(i, Y))
