"""A table with a target column, and a multi-layer perceptron."""

from functools import partial
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.batches import Batch
from llpf_plugin.tasks.plain.table import Columns, read_table
from llpf_plugin.tasks.recipe import Recipe
from llpf_plugin.tasks.task import Defaults, Task, classification

RECIPE = Recipe(epochs=30, lr=0.003, optimizer="adamw", weight_decay=0.01)


def mlp(
    data: str | None = None, target: str | None = None, width: int = 128, depth: int = 2, kind: str = "auto"
) -> Task:
    """Predict one column of a table from the others.

    Args:
        data: a ``.csv`` file with a head line. Columns of numbers are standardised, others one-hot encoded; statistics
            and values are those of the whole file. A tenth of the rows each is held out for validation and test.
        target: the column to predict [the last one].
        width: units of a hidden layer.
        depth: hidden layers.
        kind: ``classification``, ``regression``, or ``auto``: regression where there are numbers with a fraction.

    Raises:
        TaskError: the file cannot be read, has no such column, or what is in it cannot be used.
    """
    if data is None:
        raise TaskError("tabular/mlp needs data: give -t data=FILE.csv, and -t target=COLUMN")
    table = read_table(str(data), target, kind)
    build = partial(_network, table.inputs.shape[1], int(width), int(depth), table)
    objective = classification if table.classes else _squared
    return Task(
        build(), name="tabular/mlp", build=build, objective=objective, recipe=RECIPE,
        defaults=Defaults(batch_size=64), classes=tuple(table.classes), **table.splits(),  # type: ignore[arg-type]
    )  # fmt: skip


def _network(inputs: int, width: int, depth: int, table: Columns) -> nn.Sequential:
    sizes = [inputs, *([width] * depth)]
    layers: list[Any] = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], len(table.classes) or 1))


def _squared(model: nn.Module, batch: Batch) -> Tensor:
    """The mean squared error, in units of the target's variance."""
    inputs, targets = batch
    return F.mse_loss(model(inputs).squeeze(1).float(), targets)
