"""What the data never reach stays A's along the whole path, by whatever method, in memory and in a run's folder."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.methods import METHODS
from helpers.searches import Recorder, resuming, same_path
from torch import Tensor, nn

from llpf_plugin import Method, Task, find_path, measure, merge, walk_to_origin
from llpf_plugin.checkpoint import read
from llpf_plugin.errors import InterruptedRun
from llpf_plugin.geometry import Weights
from llpf_plugin.runs import open_run

SPARE = ("spare.0.weight", "spare.0.bias", "spare.1.weight", "spare.1.bias", "spare.1.running_mean",
         "spare.1.running_var", "spare.1.num_batches_tracked", "tied.weight")  # fmt: skip


class Spare(nn.Module):
    """The tiny convolutional network, with a part that its data never reach."""

    def __init__(self) -> None:
        super().__init__()
        self.net = tiny.conv().model
        self.spare = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.tied = nn.Linear(4, 4, bias=False)
        self.tied.weight = self.spare[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


def task() -> Task:
    return replace(tiny.conv(), model=Spare())


def ends() -> tuple[Weights, Weights]:
    found = []
    for seed, net in enumerate(tiny.pair("conv")):
        torch.manual_seed(seed)
        spare = {k: torch.randn_like(t) for k, t in Spare().spare.state_dict().items() if t.is_floating_point()}
        own = {f"spare.{k}": t for k, t in spare.items()} | {"spare.1.num_batches_tracked": torch.tensor(3 + seed)}
        found.append({**{f"net.{k}": t for k, t in net.items()}, **own, "tied.weight": own["spare.0.weight"]})
    return found[0], found[1]


@pytest.fixture(autouse=True)
def _told() -> Iterator[None]:
    with pytest.warns(UserWarning, match=r"never reach stay those of A: spare\.0, spare\.1"):
        yield


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_it_stays_as_it_is_in_a(method: Method) -> None:
    a, b = ends()
    path = find_path(a, b, task(), method, budget=60, points=1)
    assert set(path.unreached) == set(SPARE) and not set(path.knots[0]) & set(SPARE)
    assert all(set(knot) == set(path.knots[0]) for knot in path.knots)
    for weights in (path.at(0), path.at(0.4), path.at(1), path.quality.pick(0.4).weights):
        assert weights.keys() == a.keys() and all(torch.equal(weights[k], a[k]) for k in SPARE)
    if not (path.open or path.equivalent):
        assert all(torch.equal(path.at(1)[k], t) for k, t in b.items() if k.startswith("net."))
    assert not any(layer.startswith("spare") for layer in path.quality.layers)
    assert set(json.loads(json.dumps(path.quality.summary()))["unreached"]) == set(SPARE)
    assert measure(path, task(), points=1).rows == path.quality.rows


def test_the_search_is_that_of_the_network_without_it() -> None:
    whole, alone = find_path(*ends(), task(), points=1), find_path(*tiny.pair("conv"), tiny.conv(), points=1)
    for knot, other in zip(whole.knots, alone.knots, strict=True):
        assert tiny.same({k.removeprefix("net."): t for k, t in knot.items()}, other)


def test_a_resumed_search_has_the_same_path() -> None:
    whole, recorder = find_path(*ends(), task(), points=1), Recorder(2, stop=True)
    with pytest.raises(InterruptedRun):
        find_path(*ends(), task(), points=1, callbacks=[recorder])
    (taken,) = recorder.taken.values()
    again = find_path(*ends(), task(), points=1, **resuming(taken))
    assert same_path(again, whole) and again.unreached == whole.unreached


def test_on_the_way_to_the_origin_it_does_not_shrink() -> None:
    a, _ = ends()
    path = walk_to_origin(a, task(), to=0.25, budget=60, points=1)
    assert set(path.unreached) == set(SPARE) and path.length > 0
    assert all(torch.equal(path.at(1)[k], a[k]) for k in SPARE)
    assert not any(name.startswith("spare") for name in path.quality.variances)


def test_a_run_keeps_it(tmp_path: Path) -> None:
    with pytest.warns(UserWarning):
        find_path(*ends(), task(), "linear", points=1)
    a, b = ends()
    merged = merge([a, b], task(), "linear", pick=0.3, align="never", out=tmp_path / "run", tolerance=9.0, points=1)
    written = read(merged.file or "").weights
    assert all(torch.equal(written[k], a[k]) for k in SPARE)
    run = open_run(tmp_path / "run")
    assert set(run.path.unreached) == set(SPARE)
    assert any("spare.0, spare.1" in note for note in run.notes) and not any("checkpoint" in note for note in run.notes)
    assert tiny.same(run.path.at(0.3), merged.pairs[0].quality.path.at(0.3)) and tiny.same(run.path.end, b)
    assert set(json.loads((tmp_path / "run" / "quality.json").read_text())["unreached"]) == set(SPARE)
