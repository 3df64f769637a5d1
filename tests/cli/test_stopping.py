"""Ctrl-C, kills and ``--resume``: every command stops alike, and says how to continue where there is something."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import scripts, tiny
from helpers.commands import Result, ended, llpf, merge, report, started
from helpers.refusals import refused
from helpers.run_folders import bits, contents

from llpf_cli import app, demo, progress_bar, watch
from llpf_cli.ctrl_c import noticed

TASK = f"{tiny.__file__}:mlp"
INTERRUPTED = 130

Words = list[object]


@pytest.fixture
def asked(asked: Words) -> Words:
    """A walk: aligned, the two networks are connected by the straight line, and there is nothing to stop."""
    return [*asked, "--align", "never"]


COMMANDS = ("merge", "tree", "compare", "origin")


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, mlps: list[Path]) -> Words:
    """What takes a while, but for ``-o``."""
    words = ["--task", TASK, "--points", 1, "--device", "cpu", "--no-report"]
    return {
        "merge": ["merge", *mlps[:2], *words, "--max-loss", 0.05],
        "tree": ["merge", *mlps, *words, "--max-loss", 0.1],
        "compare": ["compare", *mlps[:2], *words, "--max-loss", 0.05, "--methods", "linear,bezier,llpf"],
        "origin": ["origin", mlps[0], *words, "--max-loss", 0.2, "--to", 0.3],
    }[str(request.param)]


class CtrlC:
    """Sends the signal when a function is called for the n-th time."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str, at: int = 1) -> None:
        self.left, before = at, getattr(owner, name)

        def stopping(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
            return before(*arguments, **options)

        patch.setattr(owner, name, stopping)


MOMENTS = {
    "before anything": (watch.TerminalWatch, "on_open", 1),
    "the first tick": (progress_bar.LiveView, "on_tick", 1),
    "the fifth tick": (progress_bar.LiveView, "on_tick", 5),
    "measuring": (progress_bar.LiveView, "on_measure", 2),
    "the picture": (watch, "draw_path", 1),
}  # fmt: skip
"""When the signal comes: a function, and which of its calls."""


def line_of(result: Result) -> list[str]:
    """The words of the line that continues, without ``llpf``."""
    words = shlex.split(result.err.splitlines()[-1])
    assert words[0] == "llpf" and words.count("--resume") == 1, result.err
    return words[1:]


STOPS = [(c, m) for c in COMMANDS for m in MOMENTS if (c, m) != ("origin", "before anything")]
"""A walk to the origin opens before anything listens."""


@pytest.mark.parametrize(("command", "moment"), STOPS, indirect=["command"])
def test_ctrl_c_prints_the_line_that_continues_to_the_same_bits(
    command: Words, moment: str, whole: Callable[[Words], tuple[Path, Result]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out, (complete, expected) = tmp_path / "run", whole(command)
    with monkeypatch.context() as patch:
        CtrlC(patch, *MOMENTS[moment])
        stopped = llpf(*command, "-o", out)
    assert stopped.code == INTERRUPTED and not stopped.traceback, stopped.text
    begun = "stopped before anything was written" if moment == "before anything" else "everything so far is in"
    assert stopped.err.startswith(f"llpf {command[0]}: ") and begun in stopped.err
    assert len(stopped.err.splitlines()) == 2
    resumed = llpf(*line_of(stopped))
    assert resumed.code == expected.code and resumed.err == "", resumed.text
    assert bits(out) == bits(complete) != {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Words], tuple[Path, Result]]:
    """The folder and the result of a command that nothing stops; each is run once."""
    done: dict[str, tuple[Path, Result]] = {}

    def run(command: Words) -> tuple[Path, Result]:
        key = shlex.join(map(str, command))
        if key not in done:
            out = tmp_path_factory.mktemp("whole") / "run"
            done[key] = out, llpf(*command, "-o", out)
            assert done[key][1].code in (0, 3), done[key][1].text
        return done[key]

    return run


def test_ctrl_c_while_the_page_is_written(asked: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.remove("--no-report")
    with monkeypatch.context() as patch:
        CtrlC(patch, watch, "write_report")
        stopped = merge(*asked, "-o", tmp_path / "run")
    assert stopped.code == INTERRUPTED and not (tmp_path / "run" / "report.html").exists(), stopped.text
    assert llpf(*line_of(stopped)).code == 0 and (tmp_path / "run" / "report.html").is_file()


def test_a_second_ctrl_c_stops_at_once(asked: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the tick under way never ends."""
    with monkeypatch.context() as patch:
        CtrlC(patch, progress_bar.LiveView, "on_tick", 2)
        CtrlC(patch, progress_bar.LiveView, "on_tick", 2)
        stopped = merge(*asked, "-o", tmp_path / "run")
    assert stopped.code == INTERRUPTED and not stopped.traceback, stopped.text
    assert llpf(*line_of(stopped)).code == 0


def test_ctrl_c_before_the_models_are_read_is_one_word(
    command: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text("import signal\n\ndef task():\n    signal.raise_signal(signal.SIGINT)\n")
    command[command.index("--task") + 1] = f"{tmp_path / 'slow.py'}:task"
    stopped = llpf(*command, "-o", tmp_path / "run")
    assert stopped.code == INTERRUPTED and stopped.err.startswith(f"llpf {command[0]}: stopped"), stopped.text
    assert not (tmp_path / "run").exists()


class StopsImport:
    """Ctrl-C while this module is imported."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, *_: object) -> None:
        if name == self.name:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("script", "module", "name"),
    [("llpf", "llpf_cli.app", "llpf"), ("llpf-mergekit-yaml", "llpf_mergekit.app", "llpf-mergekit-yaml")],
)
def test_ctrl_c_while_the_command_is_imported_is_one_word(
    script: str, module: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name_of in (module, module.replace("app", "main"), module.replace("app", "command")):
        monkeypatch.delitem(sys.modules, name_of, raising=False)
    monkeypatch.setattr(sys, "meta_path", [StopsImport(module), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit, match=str(INTERRUPTED)):
        scripts.run(script)
    assert capsys.readouterr() == ("", f"{name}: stopped\n")


def test_what_an_import_makes_of_ctrl_c_is_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy and torch import things in C, where it becomes whatever comes next."""

    def interrupted(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RecursionError("maximum recursion depth exceeded") from None

    monkeypatch.setattr(app, "app", interrupted)
    stopped = llpf("check", "a.pt", "b.pt")
    assert (stopped.code, stopped.err) == (INTERRUPTED, "llpf check: stopped\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)  # a background job of a script
    with noticed():
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def broken(*_: object, **__: object) -> None:
        raise RecursionError("of its own")

    monkeypatch.setattr(app, "app", broken)
    assert "RecursionError: of its own" in llpf("check", "a.pt", "b.pt").err


# ---- the demo and the report


def test_the_demo_continues_as_the_command_that_it_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TASK", TASK)
    monkeypatch.setattr(demo, "GOAL_LOSS", 0.2)
    words = ["demo", "-o", tmp_path / "demo", "--device", "cpu", "--no-report"]
    with monkeypatch.context() as patch:
        CtrlC(patch, progress_bar.LiveView, "on_tick", 2)
        stopped = llpf(*words)
    assert stopped.code == INTERRUPTED and not stopped.traceback, stopped.text
    line = line_of(stopped)
    assert shlex.join(["llpf", *line[:-1]]) in stopped.out
    resumed = llpf(*line)
    assert resumed.code == 0, resumed.text
    assert not list((tmp_path / "demo").rglob("report.html"))


def test_the_demo_that_is_stopped_while_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.py").write_text("import signal\n\ndef task():\n    signal.raise_signal(signal.SIGINT)\n")
    monkeypatch.setattr(demo, "TASK", f"{tmp_path / 'slow.py'}:task")
    stopped = llpf("demo", "-o", tmp_path / "demo")
    assert (stopped.code, stopped.err) == (INTERRUPTED, "llpf demo: stopped\n"), stopped.text


def test_a_report_that_is_stopped_leaves_the_run_as_it_was(
    asked: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llpf_plugin.report import page

    assert merge(*asked, "-o", tmp_path / "run").code == 0
    before = contents(tmp_path / "run")
    with monkeypatch.context() as patch:
        CtrlC(patch, page, "_template")
        stopped = report(tmp_path / "run", "--trust", "--metrics", "none", "-o", tmp_path / "report")
    assert (stopped.code, stopped.err) == (INTERRUPTED, "llpf report: stopped\n"), stopped.text
    assert contents(tmp_path / "run") == before
    assert report(tmp_path / "run", "--trust", "--metrics", "none", "--figures", "none").code == 0


# ---- --resume


def test_resuming_a_finished_run_says_the_same_again(
    command: Words, whole: Callable[[Words], tuple[Path, Result]]
) -> None:
    out, expected = whole(command)
    before, paths = bits(out), {p: p.read_text() for p in out.rglob("path.json")}
    again = llpf(*command, "-o", out, "--resume")
    assert again.code == expected.code and bits(out) == before
    assert {p: p.read_text() for p in out.rglob("path.json")} == paths, "looking again takes no time and no steps"


def test_resuming_with_other_settings_is_refused(command: Words, whole: Callable[[Words], tuple[Path, Result]]) -> None:
    out, _ = whole(command)
    before = contents(out)
    changed = [*command, "--lr", 0.01]
    refused(llpf(*changed, "-o", out, "--resume"), str(command[0]), "another run", "search.lr was None, is 0.01")
    refused(llpf(*command, "-o", out), str(command[0]), "--resume", str(out))
    assert contents(out) == before


def test_resuming_where_there_is_nothing_begins(asked: Words, tmp_path: Path) -> None:
    assert merge(*asked, "-o", tmp_path / "run", "--resume").code == 0


# ---- processes of their own


def slow(folder: Path) -> dict[str, str]:
    """An environment in which a state is saved at every tick, and each takes a while."""
    (folder / "sitecustomize.py").write_text(
        "import time\nfrom llpf_plugin.runs import RunFolder\n"
        "before = RunFolder.on_tick\n"
        "def slower(self, search, tick):\n    self._next = 0\n    before(self, search, tick)\n    time.sleep(0.2)\n"
        "RunFolder.on_tick = slower\n"
    )
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


def wait_for_ticks(out: Path, ticks: int, begun: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and begun.poll() is None:
        state = out / "state.json"
        if state.is_file() and len(json.loads(state.read_text())["progress"]["record"]) >= ticks:
            return
        time.sleep(0.02)
    raise AssertionError(f"the run ended or hung before tick {ticks}: {begun.poll()}")


@pytest.mark.parametrize("ticks", [0, 4])
def test_killed_and_resumed_it_ends_bit_for_bit_the_same(asked: Words, tmp_path: Path, ticks: int) -> None:
    assert merge(*asked, "-o", tmp_path / "whole").code == 0
    killed = started("llpf-merge", *asked, "-o", tmp_path / "killed", env=slow(tmp_path))
    wait_for_ticks(tmp_path / "killed", ticks, killed)
    killed.send_signal(signal.SIGKILL)
    assert ended(killed).code == -signal.SIGKILL
    assert not (tmp_path / "killed" / "path.json").exists()
    resumed = merge(*asked, "-o", tmp_path / "killed", "--resume")
    assert resumed.code == 0, resumed.text
    assert bits(tmp_path / "whole") == bits(tmp_path / "killed")


def test_a_real_signal_to_a_real_script(asked: Words, tmp_path: Path) -> None:
    begun = started("llpf-merge", *asked, "-o", tmp_path / "run", env=slow(tmp_path))
    wait_for_ticks(tmp_path / "run", 2, begun)
    begun.send_signal(signal.SIGINT)
    stopped = ended(begun, 120)
    assert stopped.code == INTERRUPTED and not stopped.traceback, stopped.text
    line = stopped.err.strip().splitlines()[-1].strip()
    assert line.startswith("llpf-merge ") and line.endswith("--resume")
    assert merge(*shlex.split(line)[1:]).code == 0
