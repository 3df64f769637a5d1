"""``llpf point``: what it writes is the path's point, in A's form or another."""

from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import llpf, method
from helpers.refusals import refused

from llpf_plugin.checkpoint import read
from llpf_plugin.runs import open_run

CONV = ("--task", f"{tiny.__file__}:conv")


@pytest.fixture(scope="module")
def run(convs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("point") / "run"
    words = ("--tolerance", 9, "--points", 1, "--no-report", "--align", "never", *method("linear"))
    assert llpf("merge", *convs, *CONV, *words, "-o", out).code == 0
    return out


def test_a_point_is_written_as_a_was(run: Path, convs: list[Path], tmp_path: Path) -> None:
    result = llpf("point", run, "--at", 0.3, "-o", tmp_path / "x")
    assert result.code == 0 and f"model at t = 0.3: {tmp_path / 'x.pt'}" in result.out, result.text
    found, a = read(tmp_path / "x.pt"), read(convs[0])
    assert tiny.same(found.weights, open_run(run).path.at(0.3)) and found.names == a.names
    assert torch.load(tmp_path / "x.pt")["epoch"] == 20
    assert f"llpf rebn {tmp_path / 'x.pt'} --task {CONV[1]} -o OUT" in result.out


@pytest.mark.parametrize(("at", "end"), [("0", 0), ("1", 1)])
def test_the_ends_are_a_and_b(run: Path, convs: list[Path], tmp_path: Path, at: str, end: int) -> None:
    result = llpf("point", run, "--at", at, "-o", tmp_path / "x.pt")
    assert result.code == 0 and "rebn" not in result.out
    assert tiny.same(read(tmp_path / "x.pt").weights, read(convs[end]).weights)


@pytest.mark.parametrize("out", ["x.safetensors", "x.ckpt"])
def test_another_format_is_written_where_the_suffix_says_so(run: Path, tmp_path: Path, out: str) -> None:
    result = llpf("point", run, "--at", "mid", "-o", tmp_path / out)
    assert result.code == 0, result.text
    assert tiny.same(read(tmp_path / out).weights, open_run(run).path.at(0.5))
    refused(llpf("point", run, "--at", "mid", "-o", tmp_path / out), "point", "is there already")
