"""Data that are empty, endless, of another type, or broken, and loaders of every kind."""

import os
import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset

from llpf_plugin import LoaderData, Task, TensorData
from user_tasks.base import Examples, X, Y, factory, loader, net, splits


class Drawn(TensorData):
    """Batches that nobody can draw again."""

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(random.getrandbits(40))
        i = torch.randint(0, len(self), (size,), generator=rng)
        return self.inputs[i] + 0.1 * torch.randn(len(i), 8), self.targets[i]


@factory
def batches_are_drawn_anew() -> Task:
    data = splits()
    return Task(net(), Drawn(X[:160], Y[:160]), data["validation"], data["test"])


@factory
def a_loader() -> Task:
    return Task(net(), loader(shuffle=True), loader(160, 208), loader(208, 256))


@factory
def a_loader_with_a_worker() -> Task:
    return Task(net(), loader(shuffle=True, num_workers=1), loader(160, 208))


@factory
def a_loader_of_dictionaries() -> Task:
    rows = [{"x": X[i], "y": Y[i], "id": str(i)} for i in range(160)]

    def objective(model: torch.nn.Module, batch: Any) -> Any:
        logits = model(batch["x"])
        return cross_entropy(logits, batch["y"]), (logits.argmax(1) == batch["y"]).sum()

    return Task(net(), LoaderData(DataLoader(rows, 32)), objective=objective)


@factory
def a_loader_of_strings() -> Task:
    return Task(net(), LoaderData([("a", "b")]), objective=lambda model, batch: model(X[:4]).square().mean())


@factory
def a_list_of_batches() -> Task:
    return Task(net(), LoaderData([(X[:32], Y[:32])]))


class Batches:
    """An iterable without a length."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(0, 160, 32):
            yield X[i : i + 32].clone(), Y[i : i + 32].clone()


@factory
def an_iterable_without_a_length() -> Task:
    return Task(net(), LoaderData(Batches()), loader(160, 208))


@factory
def a_generator_that_runs_once() -> Task:
    return Task(net(), LoaderData(batch for batch in DataLoader(Examples(0, 160), 32)), loader(160, 208))


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    """Examples without an end."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            i = random.randrange(160)
            yield X[i], Y[i]


class EndlessWithALength(Endless):
    """Examples without an end that claim to have one."""

    def __len__(self) -> int:
        return 160


@factory
def an_endless_loader() -> Task:
    return Task(net(), LoaderData(DataLoader(Endless(), 32)), loader(160, 208))


@factory
def an_endless_loader_with_a_length() -> Task:
    return Task(net(), LoaderData(DataLoader(EndlessWithALength(), 32)), loader(160, 208))


@factory
def an_endless_loader_and_another_to_score_on() -> Task:
    return Task(net(), LoaderData(DataLoader(Endless(), 32), DataLoader(Examples(0, 160), 32)), loader(160, 208))


class Broken(Examples):
    """One example cannot be read."""

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if i == 77:
            raise OSError("broken image 77")
        return super().__getitem__(i)


class Deadly(Examples):
    """Reading one example ends the process."""

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if i == 77:
            os._exit(3)
        return super().__getitem__(i)


@factory
def a_broken_image() -> Task:
    return Task(net(), LoaderData(DataLoader(Broken(0, 160), 32)), loader(160, 208))


@factory
def a_worker_that_dies() -> Task:
    return Task(net(), LoaderData(DataLoader(Deadly(0, 160), 32, num_workers=1)), loader(160, 208))


# ---- empty splits, and batches of one


@factory
def no_training_examples() -> Task:
    return Task(net(), loader(0, 0), loader(160, 208))


@factory
def no_validation_examples() -> Task:
    return Task(net(), loader(), loader(0, 0))


@factory
def no_test_examples() -> Task:
    return Task(net(), loader(), loader(160, 208), loader(0, 0))


@factory
def the_only_batch_is_dropped() -> Task:
    return Task(net(), loader(0, 16, 64, drop_last=True), loader(160, 208))


@factory
def one_example() -> Task:
    return Task(net(), TensorData(X[:1], Y[:1]), TensorData(X[1:2], Y[1:2]))


@factory
def one_example_and_batch_norm() -> Task:
    return Task(net(norm=True), TensorData(X[:1], Y[:1]), TensorData(X[1:2], Y[1:2]))


@factory
def batches_of_one_and_batch_norm() -> Task:
    return Task(net(norm=True), loader(0, 160, 1), loader(160, 208, 1))


@factory
def a_last_batch_of_one_and_batch_norm() -> Task:
    return Task(net(norm=True), loader(0, 161, 32), loader(160, 208))


@factory
def one_example_to_score_on_and_batch_norm() -> Task:
    one = TensorData(X[:1], Y[:1])
    return Task(net(norm=True), TensorData(X[:160], Y[:160]), one, one)


@factory
def no_validation_split() -> Task:
    data = splits()
    return Task(net(), data["train"], None, data["test"])


@factory
def no_test_split() -> Task:
    data = splits()
    return Task(net(), data["train"], data["validation"])


@factory
def only_a_training_split() -> Task:
    return Task(net(), splits()["train"])


# ---- what is no data of ours, and tensors of other types


@factory
def a_plain_data_loader() -> Task:
    return Task(net(), DataLoader(Examples(0, 160), 32))  # type: ignore[arg-type]


@factory
def a_plain_tuple() -> Task:
    return Task(net(), (X, Y))  # type: ignore[arg-type]


@factory
def no_data() -> Task:
    return Task(net(), None)  # type: ignore[arg-type]


@factory
def inputs_are_doubles() -> Task:
    return Task(net(), **splits(X.double()))


@factory
def inputs_are_integers() -> Task:
    return Task(net(), **splits(X.long()))


@factory
def inputs_have_another_width() -> Task:
    return Task(net(), **splits(X[:, :5]))


@factory
def fewer_targets_than_inputs() -> Task:
    return Task(net(), TensorData(X[:100], Y[:90]))


@factory
def validation_batches_are_built_otherwise() -> Task:
    return Task(net(), splits()["train"], LoaderData([X[:32]]))


@factory
def inputs_require_gradients() -> Task:
    return Task(net(), **splits(X.clone().requires_grad_()))


@factory
def data_on_the_meta_device() -> Task:
    return Task(net(), **splits(X.to("meta"), Y.to("meta")))


@factory
def sparse_inputs() -> Task:
    return Task(net(), TensorData(X.to_sparse(), Y))
