"""`measure`: a path from its knots alone."""

import math

import pytest
from helpers import tiny
from helpers.planes import corner, plane, squares
from torch import Tensor, nn

from llpf_plugin import Path, Quality, Task, measure
from llpf_plugin.geometry.weights import Weights, coordinates, select
from llpf_plugin.records import Row


def line(name: str) -> tuple[Task, Path, Weights]:
    """The straight line between two trained networks, and the names of a coordinate."""
    task, (a, b) = tiny.TASKS[name](), tiny.pair(name)
    names = list(coordinates(task.model))
    return task, Path([select(a, names), select(b, names)], a, b), a


def test_every_measured_point_by_hand() -> None:
    quality = measure(corner(), plane(), points=2)
    assert quality.column("t").tolist() == pytest.approx([0, 1.5 / 7, 3 / 7, 5 / 7, 1])
    assert quality.column("segment").tolist() == [0, 0, 0, 1, 1]
    assert quality.column("u").tolist() == [0, 0.5, 1, 0.5, 1]
    assert quality.column("train").tolist() == pytest.approx([0, 2.25, 9, 9, 9])
    assert quality.column("validation").tolist() == pytest.approx([4, 0.25, 1, 1, 1])
    assert all(math.isnan(x) for x in quality.column("train_accuracy"))
    assert all(row.test is None for row in quality.rows)


def test_a_knot_is_measured_once() -> None:
    calls = []

    def counted(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        calls.append(len(batch[0]))
        return squares(model, batch)

    measure(corner(), plane(counted, validation=None, test=None), points=4)
    assert len(calls) == 9  # nine points of the path, its ends among them


def test_measuring_changes_neither_the_path_nor_its_ends() -> None:
    task, path, _ = line("conv")
    before = [{k: t.clone() for k, t in w.items()} for w in (path.start, path.end, *path.knots)]
    measure(path, task, points=3).pick("best")
    after = [path.start, path.end, *path.knots]
    assert all(tiny.same(x, y) for x, y in zip(before, after, strict=True))


def test_measuring_twice_gives_the_same_bits() -> None:
    def rows() -> list[Row]:
        task, path, _ = line("conv")
        return measure(path, task, points=3).rows

    assert rows() == rows()


def test_progress_is_told() -> None:
    seen = []
    quality = measure(corner(), plane(), points=1, progress=lambda done, total: seen.append((done, total)))
    assert isinstance(quality, Quality) and seen == [(1, 2), (2, 2)]
