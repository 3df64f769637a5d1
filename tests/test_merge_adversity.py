"""``llpf-merge`` where users stray: odd models, odd names, options that do not go together, stops at odd moments."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from llpf_merge import job
from llpf_merge.main import app
from llpf_merge.report import app as report_app
from torch import nn
from typer.testing import CliRunner, Result

from llpf_plugin import LoaderData, Task, load_task
from llpf_plugin.checkpoint import read
from llpf_plugin.order import layer_order, phases
from llpf_plugin.training import train

TASK = f"{Path(tiny.__file__)}:conv"
HERE = f"{Path(__file__)}"


class Shared(nn.Module):
    """One weight under three names, and one buffer under two."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4, bias=False) for _ in range(3))
        self.second.weight = self.third.weight = self.first.weight
        self.register_buffer("mask", torch.ones(4))
        self.register_buffer("same", self.mask)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in (self.first, self.second, self.third):
            x = torch.relu(layer(x * self.mask * self.same)) + x
        return self.head(x)


def shared() -> Task:
    return Task(Shared(), **tiny.splits((4,)))


class Shuffled(torch.utils.data.Dataset[Any]):
    """The tiny task's images as a user has them."""

    def __init__(self, split: str) -> None:
        self.data = getattr(tiny.conv(), split)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> Any:
        return self.data.inputs[i], self.data.targets[i]


def shuffled() -> Task:
    task = tiny.conv()
    loaders = {
        s: LoaderData(torch.utils.data.DataLoader(Shuffled(s), 32, shuffle=True)) for s in ("train", "validation")
    }
    return Task(task.model, loaders["train"], loaders["validation"], name="shuffled")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return tuple(save(tmp_path / f"{n}.pt", w) for n, w in zip("ab", tiny.pair("conv"), strict=True))  # type: ignore[return-value]


def save(place: Path, weights: Any) -> Path:
    torch.save(weights, place)
    return place


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "300"})


def merge(pair: Sequence[Path], out: Path, *words: object, task: str = TASK) -> Result:
    return run(*pair, "--task", task, "-o", out, "--device", "cpu", *words)


def test_tensors_with_three_names(tmp_path: Path) -> None:
    places = [save(tmp_path / f"{seed}.pt", train(shared(), seed, epochs=20, lr=0.05)) for seed in (0, 1)]
    result = merge(places, tmp_path / "run", "--tolerance", 0.5, "--no-report", task=f"{HERE}:shared")
    assert result.exit_code in (0, 3), result.output
    assert read(tmp_path / "run" / "merged.pt").weights.keys() == Shared().state_dict().keys()


def test_the_demo_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_text("mine")
    result = run("--demo", "-o", tmp_path)
    assert result.exit_code == 1 and "not an empty folder" in result.stderr
    assert (tmp_path / "a.pt").read_text() == "mine" and not (tmp_path / "b.pt").exists()


def test_a_report_of_a_descent_says_what_the_descent_said(pair: Sequence[Path], tmp_path: Path) -> None:
    result = run(pair[0], "origin", "--task", TASK, "-o", tmp_path / "o", "--device", "cpu", "--to", 0.5)
    assert result.exit_code == 0, result.output
    again = CliRunner().invoke(report_app, [str(tmp_path / "o"), "--figures", "none", "--metrics", "none"])
    assert again.exit_code == 0, again.output
    assert "not connected" not in again.output and "edited" not in again.output


def test_an_aligned_run_was_not_edited(pair: Sequence[Path], tmp_path: Path) -> None:
    result = merge(pair, tmp_path / "run", "--align", "--method", "linear")
    assert result.exit_code in (0, 3), result.output
    assert "edited or exchanged" not in (tmp_path / "run" / "report.html").read_text()


def test_a_tree_is_resumed_though_its_data_come_in_another_order(tmp_path: Path) -> None:
    models = [save(tmp_path / f"{seed}.pt", tiny.trained("conv", seed)) for seed in (0, 1, 2)]
    words = ("--no-report", "--max-loss", 0.5)
    first = merge(models, tmp_path / "tree", *words, task=f"{HERE}:shuffled")
    merged = (tmp_path / "tree" / "1-2" / "merged.pt").read_bytes()
    again = merge(models, tmp_path / "tree", *words, "--resume", task=f"{HERE}:shuffled")
    assert (again.exit_code, again.stderr) == (first.exit_code, first.stderr), again.output
    assert (tmp_path / "tree" / "1-2" / "merged.pt").read_bytes() == merged


@pytest.mark.parametrize("what", [["--ablate", "order"], ["--ablate", "order", "--compare"], ["--compare"]])
def test_a_dry_run_runs_nothing(pair: Sequence[Path], tmp_path: Path, what: list[str]) -> None:
    result = merge(pair, tmp_path / "run", *what, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "a gradient step takes" in result.stdout and not (tmp_path / "run").exists()


def test_a_dry_run_shows_the_phases_and_the_order_that_are_asked_for(pair: Sequence[Path], tmp_path: Path) -> None:
    names = [layer.name for layer in layer_order(tiny.conv().model, tiny.conv().example_inputs()).layers]
    (tmp_path / "phases.yaml").write_text(f"phases: [[{names[-1]}], [rest]]")
    result = merge(pair, tmp_path / "run", "--phases", tmp_path / "phases.yaml", "--dry-run")
    assert result.exit_code == 0, result.output
    for option, words in (("--order", "it is fdf, levels"), ("--pace", "no schedule file")):
        refused = merge(pair, tmp_path / "run", option, "nonsense", "--dry-run")
        assert refused.exit_code == 1 and words in refused.stderr, refused.output


def test_a_number_of_phases_means_the_same_everywhere() -> None:
    order = layer_order(tiny.conv().model, tiny.conv().example_inputs())
    assert phases(order, 2) == phases(order, "2") == phases(order, "block", 2)


def test_a_task_in_a_module_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_module.py").write_text("from helpers import tiny\n\ndef task():\n    return tiny.mlp()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in __import__("sys").path if p not in ("", str(tmp_path))])
    assert load_task("my_own_module:task").name == "tiny/mlp"


def test_words_in_brackets_are_words(pair: Sequence[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llpf_plugin.errors import LLPFError

    def none(*_: Any, **__: Any) -> None:
        raise LLPFError("pictures need matplotlib: pip install 'llpf-plugin[report]'")

    out = tmp_path / "out [test]"
    result = merge(pair, out, "--max-loss", 0.2)
    assert f"merged model: {out}/merged.pt" in result.stdout and f"report: {out}/report.html" in result.stdout
    monkeypatch.setattr(job, "draw_path", none)
    result = merge(pair, tmp_path / "run", "--max-loss", 0.2, "--no-report")
    assert "no picture: pictures need matplotlib: pip install 'llpf-plugin[report]'" in result.stdout


def test_ctrl_c_after_the_search_says_how_to_go_on(
    pair: Sequence[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "_draw", stop)
    result = merge(pair, tmp_path / "run", "--max-loss", 0.2)
    assert result.exit_code == 130 and "--resume" in result.stderr
    monkeypatch.undo()
    assert merge(pair, tmp_path / "run", "--max-loss", 0.2, "--resume").exit_code == 0


def test_a_run_that_diverged_has_a_finite_merged_model_and_real_json(pair: Sequence[Path], tmp_path: Path) -> None:
    result = merge(pair, tmp_path / "run", "--lr", 1e30, "--method", "finetune", "--steps", 30, "--no-report")
    assert result.exit_code == 3 and "not connected" in result.stdout, result.output
    assert all(t.isfinite().all() for t in read(tmp_path / "run" / "merged.pt").weights.values())

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for name in ("quality.json", "path.json"):
        json.loads((tmp_path / "run" / name).read_text(), parse_constant=refuse)


def test_the_command_of_a_part_is_that_of_the_part(pair: Sequence[Path], tmp_path: Path) -> None:
    merge(pair, tmp_path / "run", "--ablate", "settle, variance", "--tolerance", 0.5, "--budget", 30, "--no-report")
    commands = [json.loads(p.read_text())["info"]["command"] for p in (tmp_path / "run").glob("*/run.json")]
    assert len(commands) == 3 and not any("--ablate" in c or "--compare" in c for c in commands)


def test_without_tensorboard_no_run_is_left_behind(
    pair: Sequence[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    assert merge(pair, tmp_path / "run", "--max-loss", 0.2, "--tensorboard").exit_code == 1
    assert merge(pair, tmp_path / "run", "--max-loss", 0.2, "--no-report").exit_code == 0


def test_a_refused_run_leaves_a_linked_folder_alone(pair: Sequence[Path], tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    result = merge(pair, tmp_path / "link", "--max-loss", 1e-9)
    assert result.exit_code == 1 and "max_loss" in result.stderr
    assert (tmp_path / "link").is_symlink() and not list((tmp_path / "real").iterdir())


@pytest.mark.parametrize("option", [["--compare"], ["--ablate", "order"], ["--align"]])
def test_the_origin_has_no_second_checkpoint(pair: Sequence[Path], tmp_path: Path, option: list[str]) -> None:
    result = run(pair[0], "origin", "--task", TASK, "-o", tmp_path / "o", *option)
    assert result.exit_code == 2 and "two checkpoints" in result.stderr


def test_looking_again_at_a_finished_run_takes_no_time(pair: Sequence[Path], tmp_path: Path) -> None:
    words = ("--max-loss", 0.2, "--no-report")
    merge(pair, tmp_path / "run", *words)
    before = (tmp_path / "run" / "path.json").read_text()
    assert merge(pair, tmp_path / "run", *words, "--resume").exit_code == 0
    assert (tmp_path / "run" / "path.json").read_text() == before
