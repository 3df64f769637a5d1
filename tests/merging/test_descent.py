"""A walk from one model towards the origin, with its run's folder."""

from pathlib import Path

import pytest
import torch
from helpers import tiny

from llpf_plugin import LLPF, Compute, LLPFError
from llpf_plugin.checkpoint import fingerprint, read
from llpf_plugin.errors import InterruptedRun, RunError
from llpf_plugin.geometry import sphere
from llpf_plugin.merging import Pair, open_descent
from llpf_plugin.quality import OriginQuality
from llpf_plugin.records import Tick
from llpf_plugin.runs import open_run
from llpf_plugin.search import Callback, Searching, SearchOptions, descend


class Stops(Callback):
    """Stops at the third tick."""

    ticks = 0

    def on_tick(self, search: Searching, tick: Tick) -> None:
        self.ticks += 1
        search.stop = self.ticks == 3


def descent(folder: Path | None = None, to: float | str | None = 0.5, **options: object) -> Pair:
    a, _ = tiny.pair("conv")
    return open_descent(
        a, tiny.conv(), LLPF(exact_legs=False), SearchOptions(tolerance=0.2), Compute("cpu"), to, out=folder, **options
    )  # type: ignore[arg-type]  # fmt: skip


def walked(pair: Pair) -> OriginQuality:
    with pair.running():
        return descend(pair.search)


def test_the_model_where_the_walk_ended_is_written(tmp_path: Path) -> None:
    a, _ = tiny.pair("conv")
    pair = descent(tmp_path / "run")
    quality = walked(pair)
    picked, file = pair.close(quality)
    assert quality.connected and picked.t == 1.0 and file is not None
    last = read(file).weights
    assert sphere.variance(last["fc.weight"]) == pytest.approx(0.5 * sphere.variance(a["fc.weight"]), rel=1e-3)
    run = open_run(tmp_path / "run")
    assert run.pair == (fingerprint(a), "origin") and run.asked.to == "0.5" and run.asked.ticks is None
    assert run.notes == () and run.method == "llpf" and run.verdict is not None and run.verdict.connected


def test_in_memory_nothing_is_written() -> None:
    pair = descent(pick="mid")
    quality = walked(pair)
    picked, file = pair.close(quality)
    assert file is None and picked.t == 0.5 and list(quality.variances.values()) == pytest.approx([0.5] * 3, rel=1e-3)


def test_a_descent_that_was_stopped_resumes_to_the_same_files(tmp_path: Path) -> None:
    whole = descent(tmp_path / "whole")
    whole.close(walked(whole))
    with pytest.raises(InterruptedRun):
        walked(descent(tmp_path / "run", callbacks=[Stops()]))
    again = descent(tmp_path / "run", resume=True)
    again.close(walked(again))
    for place in sorted((tmp_path / "whole").rglob("*.safetensors")):
        assert place.read_bytes() == (tmp_path / "run" / place.relative_to(tmp_path / "whole")).read_bytes(), place
    done = descent(tmp_path / "run", resume=True)
    assert done.done and walked(done).connected


def test_a_descent_to_somewhere_else_is_not_resumed(tmp_path: Path) -> None:
    pair = descent(tmp_path / "run")
    pair.close(walked(pair))
    with pytest.raises(RunError, match=r"holds another run: to was '0\.5', is '0\.3'"):
        descent(tmp_path / "run", 0.3, resume=True)
    with pytest.raises(RunError, match="ticks was None, is 4"):
        descent(tmp_path / "run", ticks=4, resume=True)


def test_a_walk_that_makes_no_sense_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(LLPFError, match="to = 2"):
        descent(tmp_path / "run", 2.0)
    a, _ = tiny.pair("mlp")
    torch.save({k: 3 * t for k, t in a.items()}, tmp_path / "larger.pt")
    pair = open_descent(
        a, tiny.mlp(), LLPF(), SearchOptions(), Compute("cpu"), str(tmp_path / "larger.pt"), out=tmp_path / "run"
    )  # fmt: skip
    with pytest.raises(LLPFError, match="gradients explode"):
        walked(pair)
    assert not (tmp_path / "run").exists()
