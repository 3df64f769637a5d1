"""``llpf demo``, on a tiny task in place of the digits, which take half a minute."""

import shlex
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, llpf
from helpers.refusals import USAGE, refused
from helpers.run_folders import bits, read

from llpf_cli import demo as module
from llpf_plugin.training import train

QUICK = ["--device", "cpu", "--no-report"]


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TASK", f"{tiny.__file__}:mlp")
    monkeypatch.setattr(module, "GOAL_LOSS", 0.2)
    monkeypatch.chdir(tmp_path)


def printed(result: Result) -> list[str]:
    """The command that the demo prints, without ``llpf``."""
    (line,) = [line for line in result.out.splitlines() if line.startswith("llpf ")]
    return shlex.split(line)[1:]


def test_it_trains_two_networks_and_connects_them() -> None:
    result = llpf("demo", *QUICK)
    assert result.code == 0 and "connected" in result.out and result.err == "", result.text
    folder = Path("llpf-demo")
    assert sorted(p.name for p in folder.iterdir()) == ["a.pt", "b.pt", "run"]
    a, b = (torch.load(folder / name, weights_only=True) for name in ("a.pt", "b.pt"))
    assert (a["seed"], b["seed"]) == (0, 1)
    again = train(tiny.mlp(), 0, epochs=module.EPOCHS)
    assert tiny.same(a["state_dict"], again) and not tiny.same(a["state_dict"], b["state_dict"])


def test_the_command_that_it_prints_is_the_one_that_it_runs() -> None:
    result = llpf("demo", *QUICK)
    line = printed(result)
    assert line[0] == "merge" and line[-3:] == ["--no-report", "--device", "cpu"]
    assert read(Path("llpf-demo/run"), "run")["info"]["command"] == shlex.join(["llpf", *line])
    place = line.index("--out") + 1
    assert line[place] == "llpf-demo/run"
    line[place] = "again"
    again = llpf(*line)
    assert again.code == 0 and bits(Path("again")) == bits(Path("llpf-demo/run")), again.text


def test_it_takes_the_next_folder_that_is_free() -> None:
    Path("llpf-demo").mkdir()
    Path("llpf-demo-2").write_text("mine")
    assert llpf("demo", *QUICK).code == 0
    assert Path("llpf-demo-3/run/merged.pt").is_file() and not list(Path("llpf-demo").iterdir())


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_text("mine")
    refused(llpf("demo", "-o", tmp_path), "demo", "not an empty folder")
    assert (tmp_path / "a.pt").read_text() == "mine" and not (tmp_path / "b.pt").exists()


def test_another_seed_gives_other_networks() -> None:
    assert llpf("demo", *QUICK, "--seed", 7, "-o", "seven").code == 0
    assert [torch.load(f"seven/{name}.pt", weights_only=True)["seed"] for name in "ab"] == [7, 8]


def test_it_compares_the_methods_on_its_pair() -> None:
    result = llpf("demo", "--compare", *QUICK, "-o", "out")
    assert result.code == 0, result.text
    assert printed(result)[0] == "compare"
    assert len(read(Path("out/compared"), "compare")["rows"]) == 7


def test_it_writes_a_report() -> None:
    assert llpf("demo", "--device", "cpu").code == 0 and Path("llpf-demo/run/report.html").is_file()


@pytest.mark.parametrize(
    "words",
    [["--task", "digits/mlp"], ["--max-loss", "0.05"], ["--method", "linear"], ["--resume"], ["--dry-run"], ["a.pt"]],
    ids=" ".join,
)
@pytest.mark.parametrize("earlier", [False, True])
def test_what_it_cannot_honour_is_refused(words: list[str], earlier: bool) -> None:
    """Said as now, and as earlier versions said it."""
    result = llpf("merge", "--demo", *words) if earlier else llpf("demo", *words)
    refused(result, "demo", words[0], code=USAGE)
    assert not list(Path().iterdir())


@pytest.mark.slow
def test_the_digits_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.undo()
    result = llpf("demo", "--device", "cpu", "-o", tmp_path / "demo")
    assert result.code == 0 and "connected" in result.out, result.text
    assert printed(result)[:5] == [
        "merge", str(tmp_path / "demo/a.pt"), str(tmp_path / "demo/b.pt"), "--task", "digits/resnet",
    ]  # fmt: skip
