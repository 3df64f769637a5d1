"""What earlier versions said: done as this version says it, or refused with what replaces it."""

from pathlib import Path

import pytest
from helpers import tiny
from helpers.commands import llpf
from helpers.refusals import USAGE, refused
from helpers.run_folders import bits, read

from llpf_cli import demo
from llpf_cli.app import options_of
from llpf_cli.earlier import rewritten

TASK = f"{tiny.__file__}:mlp"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


REFUSED = {
    "--pace resnet18-cifar10-fdf": "-m schedule=NAME",
    "--phases stage": "-m phases=",
    "--order levels": "-m order=FILE",
    "--share 0.2": "-m share=",
    "--threshold 0.1": "-m threshold=",
    "--barrier 0.5": "-m reject_above=",
    "--barrier=0.5": "-m reject_above=",
    "--correct none": "-m correct=",
    "--across never": "-m across=",
    "--repairs 1": "-m repairs=",
    "--thin 0": "-m thin=",
    "--steps 80": "-m steps=",
    "--sides both": "leave it out",
    "--polish 100": "sphere-curve",
    "--control 2": "sphere-curve or bezier",
    "--optimizer adam": "sphere-curve or bezier",
    "--ablate order,variance": "benchmarks/ablate.py",
    "--ablate order --compare": "benchmarks/ablate.py",
    "--no-settle": "benchmarks/ablate.py",
    "--settle": "always on",
    "--compare --dry-run": "--dry-run",
    "--align --no-report": "--align",
}
"""Options that have moved or are gone, and the words that say what to do instead."""


@pytest.mark.parametrize(("option", "remedy"), REFUSED.items())
def test_what_has_moved_or_is_gone_names_what_replaces_it(option: str, remedy: str, asked: list[object]) -> None:
    result = llpf("merge", *asked, *option.split(), "-o", "run")
    command = "compare" if option == "--compare --dry-run" else "merge"
    refused(result, command, option.replace("=", " ").split()[0] if command == "merge" else "", remedy, code=USAGE)
    assert not Path("run").exists() and len(result.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["compare", "origin", "demo"])
def test_the_other_searches_say_the_same(command: str) -> None:
    refused(llpf(command, "--barrier", "0.5"), command, "-m reject_above=", code=USAGE)
    refused(llpf(command, "--sides", "both"), command, "leave it out", code=USAGE)


def test_options_of_these_names_are_others_where_they_never_were_a_searchs() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    assert llpf("order", "digits/mlp", "--phases", "block", "--order", "levels").code == 0


def test_to_the_origin(mlps: list[Path]) -> None:
    words = ["--task", TASK, "--to", 0.5, "--max-loss", 0.3, "--points", 1, "--no-report", "--device", "cpu"]
    result = llpf("merge", mlps[0], "origin", *words, "-o", "old")
    assert result.code == 0 and "→ origin" in result.out, result.text
    assert llpf("origin", mlps[0], *words, "-o", "new").code == 0
    assert bits(Path("old")) == bits(Path("new"))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("A origin --task t", "origin A --task t"),
        ("--task t A origin -o down", "origin --task t A -o down"),
        ("A --resume origin --task t", "origin A --resume --task t"),
        ("A --no-report origin", "origin A --no-report"),
        ("A B --task t -o origin", "merge A B --task t -o origin"),
        ("A B --out origin", "merge A B --out origin"),
        ("A B --task origin", "merge A B --task origin"),
        ("A B --compare --task t", "compare A B --task t"),
        ("--demo", "demo"),
        ("--demo --compare -o out", "demo --compare -o out"),
        ("--demo A B", "demo A B"),
        ("A B --task t", "merge A B --task t"),
    ],
)
def test_how_it_is_rewritten(said: str, meant: str) -> None:
    assert rewritten(["merge", *said.split()], options_of) == meant.split()


def test_a_checkpoint_that_is_called_origin_is_one() -> None:
    Path("origin").mkdir()
    assert rewritten(["merge", "A", "origin"], options_of) == ["merge", "A", "origin"]


@pytest.mark.parametrize("words", [["A", "B"], []])
def test_nothing_else_is_touched(words: list[str]) -> None:
    for command in ("report", "order", "compare", "origin", "demo", "methods"):
        assert rewritten([command, *words, "--demo"], options_of) == [command, *words, "--demo"]
    assert rewritten([], options_of) == []


def test_compare_is_a_command_now(asked: list[object]) -> None:
    result = llpf("merge", *asked, "--compare", "--methods", "llpf,linear", "-o", "old")
    assert result.code == 0 and result.err == "", result.text
    assert [row["name"] for row in read(Path("old"), "compare")["rows"]] == ["llpf", "linear"]
    assert llpf("merge", *asked, "--compare", "--methods", "llpf,linear", "-o", "old", "--resume").code == 0


@pytest.mark.parametrize(("words", "inside"), [(["--demo"], "run"), (["--demo", "--compare"], "compared")])
def test_the_demo_is_a_command_now(words: list[str], inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TASK", TASK)
    monkeypatch.setattr(demo, "GOAL_LOSS", 0.2)
    result = llpf("merge", *words, "--device", "cpu", "--no-report", "-o", "out")
    assert result.code == 0 and Path("out", inside).is_dir(), result.text


@pytest.mark.parametrize(
    ("option", "command", "words"),
    [("--compare", "merge", "two checkpoints, not the origin"), ("--align=auto", "origin", "--align")],
)
def test_the_origin_has_no_second_checkpoint(option: str, command: str, words: str, mlps: list[Path]) -> None:
    refused(llpf("merge", mlps[0], "origin", "--task", TASK, "-o", "run", option), command, words, code=USAGE)
    assert not Path("run").exists()
