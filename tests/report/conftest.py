"""A path that was searched and measured once, as a run that was read from its folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import tiny

from llpf_plugin import LLPF, find_path
from llpf_plugin.quality import Quality
from llpf_plugin.records import Cost
from llpf_plugin.report import EXTRAS, Measured, measure_stored
from llpf_plugin.runs import Asked, StoredRun


@pytest.fixture(scope="session")
def quality() -> Quality:
    """Of a path of the convolutional network, layer group by layer group, with every knot kept."""
    path = find_path(*tiny.pair("conv"), tiny.conv(), LLPF(phases="stage", thin=0), max_loss=0.2)
    assert path.quality is not None
    return path.quality


@pytest.fixture(scope="session")
def run(quality: Quality) -> StoredRun:
    asked = Asked(
        "0", "1", "tiny/conv", {"width": 3}, search={"points": 4, "max_loss": 0.2}, method_settings={"thin": 0}
    )
    info = {"a": "models/a.pt", "b": "models/b.pt", "command": "llpf merge a.pt b.pt"}
    return StoredRun(Path("run"), "run", quality.path, asked, info, None, ())


@pytest.fixture(scope="session")
def measured(run: StoredRun, quality: Quality) -> Measured:
    """Without what costs further evaluations; not to be changed."""
    return measure_stored(run, quality)


@pytest.fixture(scope="session")
def everything(run: StoredRun, quality: Quality) -> Measured:
    """With all of it; not to be changed."""
    return measure_stored(run, quality, EXTRAS)


Variant = Callable[..., Measured]


@pytest.fixture
def variant(measured: Measured) -> Variant:
    """Makes another run of the same path: other name, method, ends, cost, goal, measured points."""

    def made(
        name: str = "run", method: str = "llpf", pair: tuple[str, str] = ("0", "1"), steps: int | None = 10,
        goal: float | None = 0.2, raised: float = 0.0,
    ) -> Measured:  # fmt: skip
        before = measured.quality
        path = replace(before.path, cost=Cost(gradient_steps=steps, seconds=1.0))
        rows = [replace(row, train=(row.train or 0.0) + raised) for row in before.rows]
        quality = replace(before, path=path, rows=rows, goal=goal)
        asked = replace(measured.run.asked, method=method, a=pair[0], b=pair[1])
        return replace(measured, run=replace(measured.run, name=name, path=path, asked=asked), quality=quality)

    return made
