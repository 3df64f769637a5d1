"""Layers and wrappers of every kind, and names that are hard to print."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils import parametrizations, prune

from llpf_plugin import Task
from user_tasks.base import factory, net, splits


@factory
def weight_and_spectral_norm() -> Task:
    first, last = parametrizations.weight_norm(nn.Linear(8, 16)), parametrizations.spectral_norm(nn.Linear(16, 3))
    return Task(nn.Sequential(first, nn.ReLU(), last), **splits())


@factory
def an_orthogonal_weight() -> Task:
    return Task(nn.Sequential(parametrizations.orthogonal(nn.Linear(8, 8)), nn.ReLU(), nn.Linear(8, 3)), **splits())


@factory
def pruned() -> Task:
    model = net()
    prune.random_unstructured(model[0], "weight", 0.5)
    return Task(model, **splits())


class Recurrent(nn.Module):
    """An LSTM over four steps of two features."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.view(-1, 4, 2))[0][:, -1])


@factory
def an_lstm() -> Task:
    return Task(Recurrent(), **splits())


@factory
def instance_norm() -> Task:
    norm = nn.InstanceNorm1d(2, affine=True, track_running_stats=True)
    return Task(nn.Sequential(nn.Unflatten(1, (2, 4)), norm, nn.Flatten(), nn.Linear(8, 3)), **splits())


def between(layer: nn.Module) -> Task:
    """The network with a layer after its first one."""
    return Task(nn.Sequential(nn.Linear(8, 16), layer, nn.ReLU(), nn.Linear(16, 3)), **splits())


@factory
def batch_norm_without_statistics() -> Task:
    return between(nn.BatchNorm1d(16, track_running_stats=False))


@factory
def batch_norm_without_momentum() -> Task:
    return between(nn.BatchNorm1d(16, momentum=None))


@factory
def dropout_of_everything() -> Task:
    return between(nn.Dropout(1.0))


@factory
def data_parallel() -> Task:
    return Task(nn.DataParallel(net()), **splits())


@factory
def compiled() -> Task:
    return Task(torch.compile(net()), **splits())


@factory
def compiled_eagerly() -> Task:
    return Task(torch.compile(net(), backend="eager"), **splits())


# ---- names


def named(first: str, last: str, **options: str) -> Task:
    """The network with its two layers called so."""
    layers = OrderedDict([(first, nn.Linear(8, 16)), ("between", nn.ReLU()), (last, nn.Linear(16, 3))])
    return Task(nn.Sequential(layers), **splits(), **options)


class InDictionary(nn.Module):
    """Two layers in a dictionary, which is not particular about names."""

    def __init__(self, first: str, last: str) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({first: nn.Linear(8, 16), last: nn.Linear(16, 3)})

    def forward(self, x: Tensor) -> Tensor:
        first, last = self.layers.values()
        return last(relu(first(x)))


@factory
def names_with_markup() -> Task:
    return named("[/a]", "[bold]b")


@factory
def names_with_markup_in_a_dictionary() -> Task:
    return Task(InDictionary("<script>alert(1)</script>", "[/]"), **splits())


@factory
def names_with_tags() -> Task:
    model = InDictionary("<script>alert(1)</script>", "</td><b>")
    return Task(model, **splits(), name="<script>alert(2)</script>")


@factory
def names_that_lead_elsewhere() -> Task:
    return Task(InDictionary("../../x", "a\nb\x1b[31m"), **splits())


@factory
def names_that_are_no_text() -> Task:
    return Task(InDictionary("\ud800", "b"), **splits())


@factory
def a_layer_called_metadata() -> Task:
    return named("__metadata__", "b")


@factory
def a_very_long_name() -> Task:
    return named("n" * 5000, "b")


@factory
def names_that_differ_by_case() -> Task:
    return named("A", "a")
