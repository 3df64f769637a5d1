"""A csv file as tensors: numbers standardised, words one-hot encoded."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from llpf_plugin.documents import listed, quoted
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.data import TensorData
from llpf_plugin.tasks.foreign import explained
from llpf_plugin.tasks.sampling import generator
from llpf_plugin.tasks.specification import nearest

WORDS = 64
"""Different values at most of a column that is one-hot encoded."""

CLASSES = 20
"""Different numbers above which a column could be either kind, and the user has to say which."""

KINDS = ("auto", "classification", "regression")


@dataclass(frozen=True)
class Columns:
    """A table as tensors.

    Attributes:
        inputs: features ``float32 [n, columns]``.
        targets: classes ``int64 [n]``, or standardised numbers ``float32 [n]``.
        classes: their names, in order; empty where numbers are predicted.
    """

    inputs: Tensor
    targets: Tensor
    classes: Sequence[str]

    def splits(self) -> dict[str, TensorData]:
        """Training, validation and test rows: eight tenths, one, and one, of a fixed shuffle.

        Raises:
            TaskError: there are too few.
        """
        n = len(self.inputs)
        held = max(1, n // 10)
        if n - 2 * held < 2:
            raise TaskError(f"{n} rows are too few for training, validation and test data")
        parts = torch.randperm(n, generator=generator("cpu", 0, "splits")).split([n - 2 * held, held, held])
        names = ("train", "validation", "test")
        return {
            name: TensorData(self.inputs[rows], self.targets[rows]) for name, rows in zip(names, parts, strict=True)
        }


def read_table(place: str, target: str | None, kind: str) -> Columns:
    """Read a table.

    Args:
        place: of the file.
        target: the column to predict, None for the last.
        kind: of `KINDS`.

    Raises:
        TaskError: as of `llpf_plugin.tasks.plain.tabular.mlp`.
    """
    if kind not in KINDS:
        raise TaskError(f"kind = {quoted(kind)}: it is one of {', '.join(KINDS)}")
    columns = _columns(Path(place))
    target = list(columns)[-1] if target is None else str(target)
    if target not in columns:
        raise TaskError(f"{place} has no column {quoted(target)}{nearest(target, list(columns))}")
    wanted = columns.pop(target)
    if not columns:
        raise TaskError(f"{place} has no column besides {quoted(target)}")
    features = torch.cat([_features(name, values) for name, values in columns.items()], 1)
    if missing := [row for row, value in enumerate(wanted, 2) if not value.strip()]:
        raise TaskError(f"{place}: {quoted(target)} is empty in line {listed([str(row) for row in missing])}")
    if (kind if kind != "auto" else _kind(place, target, wanted)) == "classification":
        return Columns(features, *_classes(place, target, wanted))
    if (numbers := _numbers(wanted)) is None:
        raise TaskError(f"{place}: {quoted(target)} does not hold numbers, so that there is nothing to regress on")
    return Columns(features, _standardised(numbers), ())


def _kind(place: str, target: str, values: Sequence[str]) -> str:
    """What is to be done with a target: texts and few whole numbers are classes, numbers with a fraction are not."""
    numbers = _numbers(values)
    if numbers is None:
        return "classification"
    if (numbers % 1 != 0).any():
        return "regression"
    if (different := len(numbers.unique())) > CLASSES:
        raise TaskError(
            f"{place}: {quoted(target)} holds {different} different whole numbers: say -t kind=regression, or "
            "-t kind=classification"
        )
    return "classification"


def _columns(place: Path) -> dict[str, list[str]]:
    """The values of every column, by the names in the head line."""
    with explained(f"reading {place}", TaskError), place.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    if len(set(head)) < len(head):
        raise TaskError(f"{place} names a column twice in its head line")
    for line, row in enumerate(rows, 2):
        if len(row) != len(head):
            raise TaskError(f"{place}: line {line} has {len(row)} values, the head line {len(head)}")
    if not rows:
        raise TaskError(f"{place} has no rows")
    return dict(zip(head, map(list, zip(*rows, strict=True)), strict=True))


def _numbers(values: Sequence[str]) -> Tensor | None:
    """The values as finite numbers ``float64 [n]``, NaN where they are empty; None where one is neither."""
    try:
        found = [float(value) if value.strip() else math.nan for value in values]
    except ValueError:
        return None
    finite = all(math.isfinite(number) or not value.strip() for number, value in zip(found, values, strict=True))
    return torch.tensor(found, dtype=torch.float64) if finite else None


def _standardised(numbers: Tensor) -> Tensor:
    """Numbers of mean 0 and variance 1 (0 where all are the same); empty ones are put at the mean."""
    known = numbers[~numbers.isnan()]
    spread = known.std(correction=0) if len(known) else torch.tensor(0.0)
    result = (numbers - known.mean()) / spread if spread > 0 else torch.zeros_like(numbers)
    return result.nan_to_num(0.0).float()


def _features(name: str, values: Sequence[str]) -> Tensor:
    """A column as ``float32 [n, features]``; one more feature says where it is empty, if it is anywhere."""
    empty = torch.tensor([[float(not value.strip())] for value in values])
    gaps = [empty] if empty.any() else []
    if (numbers := _numbers(values)) is not None:
        return torch.cat([_standardised(numbers).unsqueeze(1), *gaps], 1)
    words = sorted({value for value in values if value.strip()})
    if len(words) > WORDS:
        raise TaskError(
            f"the column {quoted(name)} holds {len(words)} different texts, more than {WORDS}: leave it out of the file"
        )
    return torch.cat([torch.tensor([[float(value == word) for word in words] for value in values]), *gaps], 1)


def _classes(place: str, target: str, values: Sequence[str]) -> tuple[Tensor, list[str]]:
    numbers = _numbers(values)
    order = (lambda value: (float(value), value)) if numbers is not None else (lambda value: (0.0, value))
    names = sorted(set(values), key=order)
    if len(names) < 2 or len(names) > len(values) // 2:
        raise TaskError(
            f"{place}: {quoted(target)} has {len(names)} different values in {len(values)} rows, which are no classes: "
            "name another with -t target=COLUMN, or say -t kind=regression"
        )
    place_of = {name: i for i, name in enumerate(names)}
    return torch.tensor([place_of[value] for value in values]), names
