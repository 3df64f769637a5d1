"""End to end through the real ``llpf-merge``: what comes out, and what every bad input gets."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import tiny
from llpf_merge.main import app
from typer.testing import CliRunner, Result

from llpf_plugin import files
from llpf_plugin.checkpoint import read
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.runs.folder import RunFolder

TASK = f"{Path(tiny.__file__)}:conv"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two checkpoints as people have them: nested, with optimizer state, from a wrapped model."""
    places = (tmp_path / "a.pt", tmp_path / "b.pt")
    for place, weights in zip(places, tiny.pair("conv"), strict=True):
        state = {f"module.{k}": t for k, t in weights.items()}
        torch.save({"state_dict": state, "optimizer": {"lr": 0.1}, "epoch": 20}, place)
    return places


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "200"})


def merge(pair: tuple[Path, Path], out: Path, *words: object) -> Result:
    return run(*pair, "--task", TASK, "-o", out, "--device", "cpu", *words)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(result: Result, *words: str) -> None:
    """One message with these words, exit code 1, no traceback."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output and result.stderr.startswith("llpf-merge: ")
    for word in words:
        assert word in result.stderr, result.stderr


def test_a_merge_writes_model_path_picture_and_verdict(pair: tuple[Path, Path], tmp_path: Path) -> None:
    result = merge(pair, tmp_path / "run", "--max-loss", 0.2)
    assert result.exit_code == 0, result.output
    assert "connected" in result.stdout and "low loss" in result.stdout and "left out" in result.stdout
    verdict = json.loads((tmp_path / "run" / "quality.json").read_text())
    assert verdict["connected"] and verdict["maximum"] <= 0.2 and 0.1 <= verdict["merged"]["t"] <= 0.9
    merged, a = read(tmp_path / "run" / "merged.pt"), read(pair[0])
    assert merged.nesting == a.nesting and merged.names == a.names
    assert all(merged.weights[k].dtype == t.dtype for k, t in a.weights.items())
    assert "optimizer" not in torch.load(tmp_path / "run" / "merged.pt", weights_only=True)
    assert (tmp_path / "run" / "path.png").read_bytes().startswith(b"\x89PNG")


def test_the_merged_model_scores_what_the_verdict_says(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Loaded as a user loads it: strictly, in eval mode, with the statistics in the file."""
    merge(pair, tmp_path / "run", "--max-loss", 0.2)
    task = tiny.conv()
    task.model.load_state_dict(read(tmp_path / "run" / "merged.pt").weights, strict=True)
    task.model.eval()
    assert task.test is not None
    with torch.no_grad():
        right = sum(int((task.model(x).argmax(-1) == y).sum()) for x, y in task.test.batches(64))
    promised = json.loads((tmp_path / "run" / "quality.json").read_text())["merged"]["scores"]["test"]
    assert right / len(task.test) == pytest.approx(promised["accuracy"])


def test_the_stored_path_is_the_one_that_was_judged(pair: tuple[Path, Path], tmp_path: Path) -> None:
    merge(pair, tmp_path / "run", "--max-loss", 0.2)
    path = RunFolder(tmp_path / "run").path()
    a, b = (read(p).weights for p in pair)
    assert tiny.same(path.at(0), a) and tiny.same(path.at(1), b)
    verdict = json.loads((tmp_path / "run" / "quality.json").read_text())
    assert path.length_ratio == pytest.approx(verdict["length_ratio"])


def test_the_same_seed_gives_the_same_bits(pair: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert merge(pair, tmp_path / name, "--max-loss", 0.2).exit_code == 0
    one, two = (_bits(tmp_path / name) for name in ("one", "two"))
    assert one.keys() == two.keys() and one == two


def test_a_goal_out_of_reach_has_its_own_exit_code(pair: tuple[Path, Path], tmp_path: Path) -> None:
    result = merge(pair, tmp_path / "run", "--max-loss", 0.2, "--budget", 3)
    assert result.exit_code == 3 and "not connected" in result.stdout and "budget" in result.stdout
    assert (tmp_path / "run" / "merged.pt").is_file()


@pytest.mark.parametrize("phases", ["stage", "layer", "auto", "2"])
def test_phases(pair: tuple[Path, Path], tmp_path: Path, phases: str) -> None:
    assert merge(pair, tmp_path / "run", "--max-loss", 0.3, "--phases", phases).exit_code == 0


def test_a_schedule_file(pair: tuple[Path, Path], tmp_path: Path) -> None:
    schedule = tmp_path / "mine.yaml"
    schedule.write_text(
        "settle: {threshold: 0.1, min_steps: 2, max_steps: 40, lr: 0.005, momentum: 0}\n"
        "phases:\n"
        "  - {name: stem, layers: [conv1, bn1], ticks: 3, step_f: 0.34}\n"
        "  - {name: everything, layers: all, ticks: 14, step_f: 0.125}\n"
    )
    result = merge(pair, tmp_path / "run", "--max-loss", 0.4, "--pace", schedule)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "run" / "state.json").read_text())["progress"]["record"]
    assert [r["phase"] for r in record][:17] == ["stem"] * 3 + ["everything"] * 14


def test_dry_run_shows_the_order_and_changes_nothing(pair: tuple[Path, Path], tmp_path: Path) -> None:
    result = merge(pair, tmp_path / "run", "--dry-run")
    assert result.exit_code == 0 and "conv1" in result.stdout and "a gradient step takes" in result.stdout
    assert not (tmp_path / "run").exists()


def test_help_has_examples() -> None:
    result = run("--help")
    assert result.exit_code == 0 and "--demo" in result.stdout and "Examples" in result.stdout


# ---- stopped runs


def _command(pair: tuple[Path, Path], out: Path) -> list[str]:
    words = [*map(str, pair), "--task", TASK, "-o", str(out), "--device", "cpu", "--max-loss", "0.1"]
    return [sys.executable, "-c", "from llpf_merge.main import run; run()", *words]


def _bits(folder: Path) -> dict[str, bytes]:
    """Every knot and the merged model, byte for byte."""
    return {k: v for k, v in contents(folder).items() if k.startswith(("knots", "merged"))}


def _slow(folder: Path) -> dict[str, str]:
    """An environment in which a state is saved at every tick, and each takes a while."""
    (folder / "sitecustomize.py").write_text(
        "import time\nimport llpf_plugin.runs.folder as store\n"
        "init, tick = store.RunFolder.__init__, store.RunFolder.on_tick\n"
        "def slower(self, search, report):\n    self._next = 0\n    tick(self, search, report)\n    time.sleep(0.2)\n"
        "store.RunFolder.on_tick = slower\n"
    )
    places = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}


def _wait_for_ticks(out: Path, ticks: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        state = out / "state.json"
        if state.is_file() and len(json.loads(state.read_text())["progress"]["record"]) >= ticks:
            return
        time.sleep(0.02)
    raise AssertionError(f"the run ended or hung before tick {ticks}: {process.poll()}")


@pytest.mark.parametrize("ticks", [0, 4])
def test_killed_and_resumed_it_ends_bit_for_bit_the_same(pair: tuple[Path, Path], tmp_path: Path, ticks: int) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = subprocess.run(_command(pair, tmp_path / "whole"), env=environment, capture_output=True)
    assert whole.returncode == 0, whole.stderr.decode()
    process = subprocess.Popen(_command(pair, tmp_path / "killed"), env=_slow(tmp_path), stdout=subprocess.DEVNULL)
    _wait_for_ticks(tmp_path / "killed", ticks, process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "path.json").exists()
    resumed = subprocess.run([*_command(pair, tmp_path / "killed"), "--resume"], env=environment, capture_output=True)
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert _bits(tmp_path / "whole") == _bits(tmp_path / "killed")


def test_ctrl_c_prints_the_line_that_resumes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    process = subprocess.Popen(_command(pair, tmp_path / "run"), env=_slow(tmp_path), stderr=subprocess.PIPE)
    _wait_for_ticks(tmp_path / "run", 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in stderr
    line = stderr.decode().strip().splitlines()[-1].strip()
    assert line.startswith("llpf-merge ") and line.endswith("--resume")
    assert run(*line.split()[1:]).exit_code == 0


def test_resuming_a_finished_run_says_the_same_again(pair: tuple[Path, Path], tmp_path: Path) -> None:
    merge(pair, tmp_path / "run", "--max-loss", 0.2)
    before = _bits(tmp_path / "run")
    assert merge(pair, tmp_path / "run", "--max-loss", 0.2, "--resume").exit_code == 0
    assert _bits(tmp_path / "run") == before


def test_resuming_with_other_settings_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    merge(pair, tmp_path / "run", "--max-loss", 0.2)
    before = contents(tmp_path / "run")
    refused(merge(pair, tmp_path / "run", "--max-loss", 0.3, "--resume"), "settings was", "another run")
    assert contents(tmp_path / "run") == before


# ---- bad input


def test_a_folder_that_holds_another_run(pair: tuple[Path, Path], tmp_path: Path) -> None:
    merge(pair, tmp_path / "run", "--max-loss", 0.2)
    before = contents(tmp_path / "run")
    refused(merge(pair, tmp_path / "run", "--max-loss", 0.2), "--resume", str(tmp_path / "run"))
    assert contents(tmp_path / "run") == before


def test_a_folder_that_holds_something_else(pair: tuple[Path, Path], tmp_path: Path) -> None:
    refused(merge(pair, tmp_path), "-o")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pt", "b.pt"]


def test_a_missing_file(pair: tuple[Path, Path], tmp_path: Path) -> None:
    refused(merge((pair[0], tmp_path / "none.pt"), tmp_path / "run"), "none.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_file(pair: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    from safetensors.torch import save_file

    whole = tmp_path / f"whole{suffix}"
    weights = tiny.pair("conv")[1]
    torch.save(weights, whole) if suffix == ".pt" else save_file(weights, whole)
    broken = tmp_path / f"broken{suffix}"
    broken.write_bytes(whole.read_bytes()[:-200])
    refused(merge((pair[0], broken), tmp_path / "run"), broken.name)
    assert not (tmp_path / "run").exists()


class Bomb:
    """A pickle that would leave a file behind if it were executed."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)


def test_a_pickle_with_code_is_not_executed(pair: tuple[Path, Path], tmp_path: Path) -> None:
    torch.save({"state_dict": tiny.pair("conv")[0], "x": Bomb(tmp_path / "bang")}, tmp_path / "bomb.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "bang")))
    refused(merge((pair[0], tmp_path / "bomb.pt"), tmp_path / "run"), "bomb.pt", "mkdir")
    refused(merge((pair[0], tmp_path / "raw.pt"), tmp_path / "run"), "raw.pt", "pickle")
    assert not (tmp_path / "bang").exists()


def _changed(tmp_path: Path, change: object) -> Path:
    weights: Weights = tiny.pair("conv")[1]
    change(weights)  # type: ignore[operator]
    torch.save(weights, tmp_path / "changed.pt")
    return tmp_path / "changed.pt"


def test_another_architecture_lists_every_name(pair: tuple[Path, Path], tmp_path: Path) -> None:
    def change(weights: Weights) -> None:
        weights["fc.weight"] = torch.zeros(3, 7)
        weights["head.weight"] = weights.pop("conv2.weight")

    result = merge((pair[0], _changed(tmp_path, change)), tmp_path / "run")
    refused(result, "fc.weight", "head.weight", "conv2.weight", "changed.pt")


def test_nan_weights(pair: tuple[Path, Path], tmp_path: Path) -> None:
    place = _changed(tmp_path, lambda w: w["conv2.weight"].view(-1)[3].fill_(float("nan")))
    refused(merge((pair[0], place), tmp_path / "run"), "conv2.weight", "NaN")


def test_the_same_model_twice(pair: tuple[Path, Path], tmp_path: Path) -> None:
    refused(merge((pair[0], pair[0]), tmp_path / "run"), "same")


def test_a_checkpoint_of_another_task(pair: tuple[Path, Path], tmp_path: Path) -> None:
    refused(run(*pair, "--task", TASK.replace(":conv", ":mlp"), "-o", tmp_path / "run"), "the model", "conv1.weight")


def test_a_task_that_raises_names_its_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def task():\n    return 1 / 0\n")
    refused(
        run(*pair, "--task", f"{tmp_path / 'broken.py'}:task", "-o", tmp_path / "run"), "broken.py", "line 2", "zero"
    )


def test_an_unknown_task_lists_the_known_ones(pair: tuple[Path, Path], tmp_path: Path) -> None:
    refused(run(*pair, "--task", "digits/resent", "-o", tmp_path / "run"), "digits/resnet")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max-loss", "1e-9"), "not above the training loss"),
        (("--max-loss", "0.1", "--tolerance", "0.1"), "give one"),
        (("--budget", "0"), "budget"),
        (("--pace", "nowhere.yaml"), "nowhere.yaml"),
        (("--phases", "stages"), "stages"),
        (("--pick", "worst"), "worst"),
        (("--device", "cuda:99"), "cuda:99"),
    ],
)
def test_options_that_make_no_sense(pair: tuple[Path, Path], tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    out = tmp_path / "run"
    base = [w for w in ("--device", "cpu") if "--device" not in words]
    refused(run(*pair, "--task", TASK, "-o", out, *base, *words), said)
    assert not out.exists(), "a refused option must leave no folder behind"


def test_a_loss_that_turns_nan_keeps_the_partial_path(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "nan_task.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from helpers import tiny\nimport torch\nfrom dataclasses import replace\nfrom llpf_plugin import classification\n"
        "def task():\n"
        "    calls = [0]\n"
        "    def objective(model, batch):\n"
        "        calls[0] += model.training\n"
        "        loss, right = classification(model, batch)\n"
        "        return (loss * float('nan') if calls[0] > 20 and model.training else loss), right\n"
        "    return replace(tiny.conv(), objective=objective)\n"
    )
    task = f"{tmp_path / 'nan_task.py'}:task"
    result = run(*pair, "--task", task, "-o", tmp_path / "run", "--device", "cpu", "--max-loss", "0.2")
    assert result.exit_code == 3 and "stopped being a number" in result.output and "Traceback" not in result.output
    path = RunFolder(tmp_path / "run").path()
    assert all(t.isfinite().all() for knot in path.knots for t in knot.values()) and len(path.knots) > 3


def test_a_full_disk_loses_nothing(pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up in the middle of the walk: one message, and the run goes on once there is room."""
    flush, written = files._flush, []

    def full(path: Path) -> None:
        written.append(path)
        if len(written) > 24:
            raise OSError(28, "No space left on device")
        flush(path)

    monkeypatch.setattr(files, "_flush", full)
    refused(merge(pair, tmp_path / "run", "--max-loss", 0.2), "disk is full")
    monkeypatch.setattr(files, "_flush", flush)
    assert merge(pair, tmp_path / "run", "--max-loss", 0.2, "--resume").exit_code == 0
    assert merge(pair, tmp_path / "whole", "--max-loss", 0.2).exit_code == 0
    assert _bits(tmp_path / "run") == _bits(tmp_path / "whole")
