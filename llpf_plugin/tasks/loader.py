"""Data from a ``DataLoader``: batches come in its own order.

Runs on it resume with the same bits where the loader keeps its position, as torchdata's ``StatefulDataLoader`` does.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from llpf_plugin.errors import TaskError
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.tasks.batches import Batch, Examples, Held, batch_size, divisible, move_batch, take
from llpf_plugin.tasks.position import position_of
from llpf_plugin.tasks.sampling import choose, classes, generator, picked

HELD = 2**30
"""Bytes of examples that are kept in memory at most."""

FOR_WORKERS = 1000
"""Examples above which a sample is read by all of the loader's worker processes."""

ENDLESS = 1_000_000
"""Examples after which a loader without a length has no end."""

MANY = 10
"""A sampler that gives more indices than this many times the examples has no end."""


class LoaderData:
    """Any iterable of batches that can be started again, such as a ``torch.utils.data.DataLoader``.

    Args:
        loader: yields batches; a fresh iteration starts when one ends.
        evaluation: another loader over the same examples, without shuffling or augmentation (default: ``loader``).
        device: where batches are moved.

    Where the loader has ``state_dict()`` and ``load_state_dict()``, as torchdata's ``StatefulDataLoader``, its position
    is saved with a run, so that a resumed one gets the batches that it would have got. What a data set draws with
    torch's generator in this process is then a function of seed and step; worker processes have their own.

    Attributes:
        position: where the loader stands, None for one that does not keep that.

    Samples are read by index where the loader has a data set with one, and are kept in memory, as all examples are
    where they fit into `HELD` bytes: what is measured at many points is decoded once.
    """

    repeatable = False

    def __init__(
        self, loader: Iterable[Batch], evaluation: Iterable[Batch] | None = None, device: torch.device | str = "cpu"
    ):
        self.loader, self.evaluation = loader, loader if evaluation is None else evaluation
        self.device, self.position = torch.device(device), position_of(loader)
        self._stream: Iterator[Batch] | None = None

    def __len__(self) -> int:
        said = self._said
        return self._counted if said is None else said

    @property
    def _said(self) -> int | None:
        """The number of examples, None where nothing says it."""
        given: Any = getattr(self.evaluation, "dataset", self.evaluation)
        sampler: Any = getattr(self.evaluation, "sampler", None)  # it may leave some out
        sized = next((one for one in (sampler, given) if hasattr(one, "__len__")), None)
        return None if sized is None else len(sized)

    @cached_property
    def _counted(self) -> int:
        """The number of examples of what does not say it, by reading it once."""
        return sum(batch_size(batch) for batch in self._once())

    def _once(self) -> Iterator[Batch]:
        """One pass over the evaluation loader.

        Raises:
            TaskError: it has no end, as far as can be told.
        """
        said = self._said if hasattr(self.evaluation, "dataset") else None  # a list's length is one of batches
        if said is None and isinstance(self.evaluation, DataLoader):
            raise TaskError(
                f"the loader's {type(self.evaluation.dataset).__name__} says no length, so that it may have no end: "
                "give it __len__(), or LoaderData another loader to score on, evaluation=…"
            )
        count, most = 0, ENDLESS if said is None else MANY * max(said, 1)
        with self._aside():
            for batch in self.evaluation:
                yield batch
                count += batch_size(batch)
                if count > most:
                    length = "no length" if said is None else f"a length of {said:,}"
                    raise TaskError(
                        f"the loader gave more than {most:,} examples and says {length}: if it has no end, give "
                        "another one to score on, LoaderData(loader, evaluation=…), else the right length"
                    )

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Afterwards training goes on as if the evaluation loader, where it is the same one, had not been read."""
        if self.position is None or self.evaluation is not self.loader:
            yield
            return
        try:
            with self.position.kept():
                yield
        finally:
            self.rewind()

    def rewind(self) -> None:
        """Begin a new iteration with the next training batch: the loader was put somewhere else."""
        self._stream = None

    def to(self, device: torch.device) -> "LoaderData":
        """The same loader with its batches moved to ``device``."""
        moved = LoaderData(self.loader, self.evaluation, device)
        moved.position = self.position
        return moved

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """The loader's next batch; ``size`` is the loader's own, seed and step count for a `position` alone."""
        if self.position is not None:
            self.position.mark()
            torch.default_generator.manual_seed(generator("cpu", seed, step, "loader").initial_seed())
        for _ in range(2):
            self._stream = iter(self.loader) if self._stream is None else self._stream
            for batch in self._stream:
                return move_batch(batch, self.device)
            self._stream = None
        raise TaskError("the training loader gives no batch: its data are empty, or fewer than a batch with drop_last")

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """The evaluation loader's batches until ``limit`` examples have been given."""
        left = math.inf if limit is None else limit
        for batch in self._once():
            count = batch_size(batch)
            if left < count and divisible(batch):
                batch = take(batch, slice(0, int(left)))
            yield move_batch(batch, self.device)
            left -= count
            if left <= 0:
                return

    def draw(self, n: int | None, seed: int) -> Examples:
        """``n`` examples of the evaluation loader (see `llpf_plugin.tasks.sampling.draw`)."""
        with self._aside():
            rows = _rows(self.evaluation)
        if rows is None:
            return self if n is None else Held(picked(self._once(), n, seed), self.device)
        labels = _labels(self.evaluation.dataset, rows)  # type: ignore[attr-defined]
        chosen = choose(len(rows), n, seed, labels)
        return _held(_part(self.evaluation, [rows[i] for i in chosen.tolist()]), len(chosen), self.device)


def _rows(loader: Any) -> list[int] | None:
    """Indices of the examples that a loader gives; None where it has no data set with an index."""
    indexed = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    if not indexed or loader.batch_sampler is None:
        return None
    at_most = MANY * len(loader.dataset)
    rows = list(islice(chain.from_iterable(loader.batch_sampler), at_most + 1))
    if len(rows) > at_most:
        raise TaskError(f"the loader's sampler has no end: it gave {len(rows)} indices of {at_most // MANY} examples")
    if isinstance(loader.sampler, _Drawn) or not all(isinstance(row, int) for row in rows):
        return rows
    return sorted(rows)  # a shuffled loader's order is no seed's


def _labels(dataset: Any, rows: list[int]) -> Tensor | None:
    """The classes of examples, where the data set says them without reading the examples."""
    while isinstance(dataset, Subset):
        dataset, rows = dataset.dataset, [dataset.indices[row] for row in rows]
    targets = dataset.tensors[-1] if isinstance(dataset, TensorDataset) else getattr(dataset, "targets", None)
    labels = None if targets is None else classes(targets, len(dataset))
    return None if labels is None else labels[rows]


def _part(loader: Any, rows: list[int]) -> DataLoader[Any]:
    """A loader of some examples, in this order.

    A loader with workers has its examples read by one at least: what takes one down ends no run, and what they are
    given by ``worker_init_fn`` is there. More of them pay off where examples are many.
    """
    size = loader.batch_size or max(map(len, loader.batch_sampler))
    workers = min(loader.num_workers, 1) if len(rows) <= FOR_WORKERS else loader.num_workers
    context = loader.multiprocessing_context if workers else None
    return DataLoader(  # of the user's own data set, not of a Subset, since ``worker_init_fn`` finds it in its worker
        loader.dataset, size, sampler=_Drawn(rows), collate_fn=loader.collate_fn, num_workers=workers,
        worker_init_fn=loader.worker_init_fn, multiprocessing_context=context,
    )  # fmt: skip


class _Drawn(list[Any]):
    """A sampler whose order is a seed's."""


def _held(loader: DataLoader[Any], count: int, device: torch.device) -> Examples:
    """The batches in memory if they fit, else the loader."""
    batches = iter(loader)
    first = next(batches, None)
    if first is None:
        raise TaskError("the loader gives no batch: its data are empty")
    size = sum(tensor.nbytes for tensor in Inputs((first,)).tensors()) / batch_size(first)
    return Held(chain([first], batches), device) if size * count <= HELD else LoaderData(loader, device=device)
