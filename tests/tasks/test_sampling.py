"""Samples are drawn, from every class its share, and the same seed draws the same ones."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

from llpf_plugin import LoaderData, TensorData
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks import loader as loaders
from llpf_plugin.tasks.sampling import choose, draw


@given(st.integers(1, 200), st.none() | st.integers(1, 300), st.integers(0, 9))
def test_a_sample_is_of_different_examples_and_as_many_as_were_asked_for(count: int, n: int | None, seed: int) -> None:
    chosen = choose(count, n, seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(n or count, count)
    assert set(chosen.tolist()) <= set(range(count)) and torch.equal(chosen, choose(count, n, seed))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=120), st.data(), st.integers(0, 9))
def test_every_class_gives_its_share(labels: list[int], data: st.DataObject, seed: int) -> None:
    n, targets = data.draw(st.integers(1, len(labels))), torch.tensor(labels)
    chosen = choose(len(labels), n, seed, targets)
    assert len(set(chosen.tolist())) == n
    for label in set(labels):
        share = n * labels.count(label) / len(labels)
        assert abs(int((targets[chosen] == label).sum()) - share) < 2


def test_another_seed_draws_another_sample_in_another_order() -> None:
    assert not torch.equal(choose(1000, 100, 0), choose(1000, 100, 1))
    assert not torch.equal(choose(1000, None, 0), choose(1000, None, 1))
    assert choose(1000, 100, 0).diff().min() < 0


X, Y = torch.arange(60.0)[:, None], torch.arange(3).repeat_interleave(20)


class Items(Dataset[tuple[Tensor, int]]):
    """Examples by index, which count how often they are read, and know their targets."""

    def __init__(self) -> None:
        self.targets, self.read = Y.tolist(), 0

    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        self.read += 1
        return X[i], self.targets[i]


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """The same examples without an index."""

    def __len__(self) -> int:
        return len(Y)

    def __iter__(self) -> object:
        return iter(list(zip(X, Y, strict=True)))


class Bare:
    """Data that a user wrote to the protocol alone."""

    repeatable = True

    def batches(self, size: int, limit: int | None = None) -> object:
        return iter([(X[:25].clone(), Y[:25]), (X[25:].clone(), Y[25:])])

    def to(self, device: torch.device) -> "Bare":
        return self

    def __len__(self) -> int:
        return len(Y)


DATA = {
    "tensors": lambda: TensorData(X, Y),
    "loader": lambda: LoaderData(DataLoader(TensorDataset(X, Y), 7)),
    "shuffled loader": lambda: LoaderData(DataLoader(TensorDataset(X, Y), 7, shuffle=True)),
    "items": lambda: LoaderData(DataLoader(Items(), 7)),
    "subset": lambda: LoaderData(DataLoader(Subset(Subset(Items(), list(range(60))), list(range(59, -1, -1))), 7)),
    "own batches": lambda: LoaderData(DataLoader(Items(), batch_sampler=torch.arange(60).view(10, 6).tolist())),
    "stream": lambda: LoaderData(DataLoader(Stream(), 7)),
    "list": lambda: LoaderData([(X[:7], Y[:7]), (X[7:50], Y[7:50]), (X[50:], Y[50:])]),
    "bare": Bare,
}  # fmt: skip


def drawn(name: str, n: int | None, seed: int = 0) -> Tensor:
    return torch.cat([x[:, 0] for x, _ in draw(DATA[name](), n, seed).batches(512)])


@pytest.mark.parametrize("name", DATA)
def test_of_data_of_any_kind(name: str) -> None:
    found = drawn(name, 15)
    assert len(set(found.tolist())) == len(found) == 15 and torch.equal(found, drawn(name, 15))
    assert sorted(drawn(name, None).tolist()) == X[:, 0].tolist()
    if name not in ("stream", "list", "bare"):  # which nobody knows the classes of
        assert [int((Y[found.long()] == k).sum()) for k in range(3)] == [5, 5, 5]


def test_of_an_index_only_the_sample_is_read() -> None:
    items = Items()
    sample = draw(LoaderData(DataLoader(items, 7)), 15, 0)
    for _ in range(3):
        assert sum(len(y) for _, y in sample.batches(512)) == len(sample) == 15
    assert items.read == 15


def test_what_does_not_fit_into_memory_is_read_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    items = Items()
    monkeypatch.setattr(loaders, "HELD", 100)
    sample = draw(LoaderData(DataLoader(items, 7)), 15, 0)
    first, again = ([x.tolist() for x, _ in sample.batches(512)] for _ in range(2))
    assert first == again and items.read >= 30


def test_a_sampler_says_which_examples_there_are() -> None:
    data = LoaderData(DataLoader(TensorDataset(X, Y), 7, sampler=SubsetRandomSampler(range(20, 40))))
    found = torch.cat([x[:, 0] for x, _ in draw(data, None, 0).batches(512)])
    assert sorted(found.tolist()) == list(range(20, 40))


def test_a_sampler_without_an_end_is_named() -> None:
    def forever() -> object:
        while True:
            yield from range(60)

    class Endless(torch.utils.data.Sampler[int]):
        def __iter__(self) -> object:
            return forever()

    with pytest.raises(TaskError, match="has no end"):
        draw(LoaderData(DataLoader(TensorDataset(X, Y), 7, sampler=Endless())), 15, 0)


def test_batches_that_cannot_be_taken_apart_are_drawn_whole() -> None:
    """As of graphs, whose nodes are in one tensor and whose targets in another."""
    graphs = [(torch.full((4, 2), float(i)), torch.arange(9)) for i in range(10)]
    found = [x[0, 0].item() for x, _ in draw(LoaderData(graphs), 12, 0).batches(512)]
    assert len(found) == len(set(found)) == 3


def test_a_model_may_write_into_what_it_is_given() -> None:
    for name in DATA:
        sample = draw(DATA[name](), 15, 0)
        for x, _ in sample.batches(512):
            x.zero_()
        assert float(torch.cat([x for x, _ in sample.batches(512)]).sum()) > 0, name
    assert float(X.sum()) == sum(range(60))
