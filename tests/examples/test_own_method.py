"""Methods of a user's own, as ``examples/own_method.py`` shows them: through the command and through `find_path`."""

from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import llpf, merge, method, process

from llpf_plugin import find_path
from llpf_plugin.errors import InterruptedRun
from llpf_plugin.geometry import MemoryKnots, lerp, relative_distance, select
from llpf_plugin.methods import method_class
from llpf_plugin.records import Tick
from llpf_plugin.search import Callback, Searching

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "own_method.py"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two digit networks that the example trains."""
    folder = tmp_path_factory.mktemp("pair")
    words = ["digits/mlp", "--seeds", 0, 1, "-o", folder]
    result = process(ROOT / "examples" / "train_pair.py", *words, env={"PYTHONPATH": str(ROOT)}, cwd=ROOT)
    assert result.code == 0, result.text
    return [folder / "seed0.pt", folder / "seed1.pt"]


@pytest.mark.parametrize("name", ["Chain", "Midpoint"])
def test_a_method_in_a_file_connects_a_pair_through_the_command(name: str, pair: list[Path], tmp_path: Path) -> None:
    where = ["--task", "digits/mlp", "--device", "cpu", "--no-report", "-o", tmp_path / "run"]
    result = merge(*pair, *where, *method(f"{FILE}:{name}"))
    assert result.code == 0, result.text
    assert "connected" in result.out and (tmp_path / "run" / "merged.pt").is_file()


def test_the_settings_of_a_method_in_a_file_are_shown_and_checked(pair: list[Path], tmp_path: Path) -> None:
    shown = llpf("methods", f"{FILE}:Chain")
    assert shown.code == 0 and "Garipov" in shown.out and "pieces" in shown.out
    for setting, complaint in (
        ("steps=0", "at least 1"),
        ("steps=many", "int or None"),
        ("bends=2", "no setting 'bends'"),
    ):
        words = ["--task", "digits/mlp", "-o", tmp_path / "run", "--method", f"{FILE}:Chain", "-m", setting]
        result = merge(*pair, *words)
        assert result.code in (1, 2) and complaint in result.text and not (tmp_path / "run").exists()


def test_a_chain_runs_straight_from_each_end_to_its_bend() -> None:
    chain = method_class(f"{FILE}:Chain")(steps=30, pieces=4)  # type: ignore[call-arg]
    path = find_path(*tiny.pair("mlp"), tiny.mlp(), chain, tolerance=10, lr=0.1)
    assert path.cost.gradient_steps == 30 and len(path.knots) == 5
    start, bend, end = path.knots[0], path.knots[2], path.knots[4]
    for knot, expected in ((path.knots[1], lerp(start, bend, 0.5)), (path.knots[3], lerp(bend, end, 0.5))):
        assert relative_distance(knot, expected) < 1e-6
    assert relative_distance(bend, lerp(start, end, 0.5)) > 1e-3


class StopAfter(Callback):
    """Stops a search after so many ticks and keeps where it stood."""

    def __init__(self, ticks: int) -> None:
        self.left = ticks

    def on_tick(self, search: Searching, tick: Tick) -> None:
        self.left -= 1
        search.stop = self.left == 0
        if search.stop:
            values, tensors = search.snapshot()
            self.snapshot = values, {k: t.clone() for k, t in tensors.items()}


def test_a_solver_of_ones_own_trains_the_average_and_resumes_bit_by_bit() -> None:
    midpoint = method_class(f"{FILE}:Midpoint")(steps=20)  # type: ignore[call-arg]
    a, b = tiny.pair("mlp")
    whole = find_path(a, b, tiny.mlp(), midpoint, tolerance=10)
    straight = find_path(a, b, tiny.mlp(), "linear", tolerance=10)
    assert len(whole.knots) == 3 and whole.quality.maximum < straight.quality.maximum
    middle = select(lerp(a, b, 0.5), whole.knots[1])
    assert 0 < relative_distance(whole.knots[1], middle) < 0.5
    knots, stop = MemoryKnots(), StopAfter(7)
    with pytest.raises(InterruptedRun):
        find_path(a, b, tiny.mlp(), midpoint, tolerance=10, knots=knots, callbacks=[stop])
    again = find_path(a, b, tiny.mlp(), midpoint, tolerance=10, knots=knots, resume=stop.snapshot)
    assert all(torch.equal(t, whole.knots[1][k]) for k, t in again.knots[1].items())
