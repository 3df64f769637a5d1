"""``llpf compare``: several methods on one pair, each a run in a folder of its own."""

from pathlib import Path

import pytest
from helpers.commands import Result, llpf, report
from helpers.refusals import refused
from helpers.run_folders import bits, maximum, read

from llpf_plugin.methods import known

METHODS = list(known())


@pytest.fixture(scope="module")
def done(mlps: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], Path, Result]:
    """All methods, compared: the words, the folder, and what was said."""
    from helpers import tiny

    words = [*mlps[:2], "--task", f"{tiny.__file__}:mlp", "--max-loss", 0.1, "--device", "cpu"]
    out = tmp_path_factory.mktemp("compared") / "all"
    return words, out, llpf("compare", *words, "-o", out)


def rows(out: Path) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in read(out, "compare")["rows"]}


def test_all_methods_side_by_side(done: tuple[list[object], Path, Result]) -> None:
    _, out, result = done
    assert result.code == 0 and result.err == "", result.text
    found = rows(out)
    assert list(found) == METHODS
    taken = found["llpf"]["steps"]
    assert [found[m]["steps"] for m in ("sphere-curve", "bezier", "autoneb", "finetune", "linear")] == [taken] * 4 + [0]
    assert found["llpf"]["connected"] and not found["finetune"]["connected"]
    for name, row in found.items():
        assert name in result.out and row["maximum"] == maximum(out / name)
        assert set(row) == {
            "name", "connected", "maximum", "mean", "length_ratio", "steps", "seconds", "merged"
        }  # fmt: skip


def test_one_report_has_them_all(done: tuple[list[object], Path, Result]) -> None:
    _, out, _ = done
    page = (out / "report.html").read_text()
    assert page.count('<section id="run') == len(METHODS) and "What it cost, and what it reached" in page
    assert not (out / "llpf" / "report.html").exists()


@pytest.mark.usefixtures("pageless")
def test_they_are_runs_that_can_be_reported(done: tuple[list[object], Path, Result], tmp_path: Path) -> None:
    _, out, _ = done
    again = report(out, "--metrics", "none", "--figures", "none", "-o", tmp_path / "again", "--trust")
    assert again.code == 3, "finetune does not connect"
    assert {r["name"] for r in read(tmp_path / "again", "report")["runs"]} == set(METHODS)


def test_it_is_resumed_and_measured_again(done: tuple[list[object], Path, Result]) -> None:
    words, out, _ = done
    before, same = rows(out), bits(out)
    refused(llpf("compare", *words, "-o", out), "compare", "add --resume")
    (out / "linear" / "quality.json").unlink()
    again = llpf("compare", *words, "-o", out, "--resume", "--no-report")
    assert again.code == 0 and bits(out) == same, again.text
    for name, row in rows(out).items():
        assert (row["maximum"], row["steps"]) == (before[name]["maximum"], before[name]["steps"])
    refused(llpf("compare", *words, "--seed", 7, "-o", out, "--resume"), "compare", "another run", "seed was 0, is 7")


def test_some_methods_one_of_them_of_a_file(asked: list[object], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom llpf_plugin.methods import Bezier\n\n"
        "@dataclass(frozen=True)\nclass Mine(Bezier):\n    '''A curve of mine.'''\n    name = 'mine'\n"
    )
    mine, out = f"{tmp_path / 'mine.py'}:Mine", tmp_path / "out"
    result = llpf("compare", *asked, "--methods", f"linear, {mine},llpf", "-m", "share=0.2", "-o", out)
    assert result.code == 0, result.text
    assert list(rows(out)) == ["llpf", "linear", mine], "LLPF goes first, since the others get the steps that it took"
    assert read(out / "llpf", "run")["asked"]["method_settings"]["share"] == 0.2
    assert read(out / "Mine", "run")["asked"]["method"] == mine
    assert rows(out)[mine]["steps"] == rows(out)["llpf"]["steps"]


def test_two_classes_of_one_name_have_a_folder_each(asked: list[object], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("from llpf_plugin.methods import Linear\n")
    methods = ",".join(f"{tmp_path / name}.py:Linear" for name in ("one", "two"))
    result = llpf("compare", *asked, "--methods", methods, "-o", tmp_path / "out")
    assert result.code == 0 and {p.name for p in (tmp_path / "out").iterdir() if p.is_dir()} == {"Linear", "Linear-2"}


def test_a_budget_that_is_given_is_everybodys(asked: list[object], tmp_path: Path) -> None:
    llpf("compare", *asked, "--methods", "bezier,finetune,llpf", "--budget", 12, "-o", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [found[name]["steps"] for name in ("bezier", "finetune")] == [12, 12]


def test_without_llpf_everybody_has_the_whole_budget(asked: list[object], tmp_path: Path) -> None:
    llpf("compare", *asked, "--methods", "linear,finetune", "--budget", 7, "-o", tmp_path / "out")
    assert rows(tmp_path / "out")["finetune"]["steps"] == 7


def test_alignment_and_the_pick_hold_for_every_method(asked_conv: list[object], tmp_path: Path) -> None:
    words = [*asked_conv, "--methods", "linear", "--align", "always", "--pick", "mid", "-o", tmp_path / "out"]
    result = llpf("compare", *words)
    assert "B aligned to A: 14 neurons in 2 groups" in result.out, result.text
    assert read(tmp_path / "out" / "linear")["merged"]["t"] == 0.5


def test_nothing_is_aligned_beside_a_schedule(asked_conv: list[object], tmp_path: Path) -> None:
    schedule = tmp_path / "mine.yaml"
    schedule.write_text(
        "settle: {threshold: 0.1, min_steps: 2, max_steps: 9, lr: 0.005, momentum: 0}\n"
        "phases:\n  - {name: everything, layers: all, ticks: 4, step_f: 0.3}\n"
    )
    words = [*asked_conv, "--methods", "llpf,linear", "-m", f"schedule={schedule}", "-o", tmp_path / "out"]
    result = llpf("compare", *words)
    assert "nothing is aligned, since one of the methods walks a schedule of the paper" in result.out, result.text
    assert {read(tmp_path / "out" / name, "run")["asked"]["align"] for name in ("llpf", "linear")} == {"never"}


def test_a_folder_that_is_in_use_is_refused(asked: list[object], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    refused(llpf("compare", *asked, "-o", tmp_path / "out"), "compare", "not an empty folder")
