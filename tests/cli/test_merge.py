"""``llpf merge`` from end to end: what comes out, what it says, and odd models, names and folders."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, llpf, merge, method
from helpers.refusals import refused
from helpers.run_folders import bits, contents, maximum, read, record
from torch import nn

from llpf_cli import watch
from llpf_plugin import LoaderData, Task, align, checkpoint, files
from llpf_plugin.errors import LLPFError
from llpf_plugin.order import layer_order, phases
from llpf_plugin.runs import open_run
from llpf_plugin.training import train

HERE = f"{Path(__file__)}"


@pytest.fixture(scope="module")
def done(convs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished run and what was said; not to be changed."""
    out = tmp_path_factory.mktemp("done") / "run"
    words = [*convs, "--task", f"{tiny.__file__}:conv", "--max-loss", 0.2, "--device", "cpu"]
    return out, merge(*words, "--no-report", "-o", out)


def test_a_merge_writes_model_path_picture_and_verdict(done: tuple[Path, Result], convs: list[Path]) -> None:
    out, result = done
    assert result.code == 0 and result.err == "", result.text
    assert "connected" in result.out and "low loss" in result.out and "left out" in result.out
    assert "learning rate " in result.out and "phases: all" in result.out
    assert open_run(out).path.cost.rate.words in result.out.replace("\n", " ")
    assert f"merged model: {out}/merged.pt" in result.out and f"picture: {out}/path.png" in result.out
    verdict = read(out)
    assert verdict["connected"] and maximum(out) <= 0.2 and 0.1 <= verdict["merged"]["t"] <= 0.9
    merged, a = checkpoint.read(out / "merged.pt"), checkpoint.read(convs[0])
    assert merged.nesting == a.nesting and merged.names == a.names
    assert all(merged.weights[k].dtype == t.dtype for k, t in a.weights.items())
    assert "optimizer" not in torch.load(out / "merged.pt", weights_only=True)
    assert (out / "path.png").read_bytes().startswith(b"\x89PNG")


def test_the_merged_model_scores_what_the_verdict_says(done: tuple[Path, Result]) -> None:
    """Loaded as a user loads it: strictly, in eval mode, with the statistics in the file."""
    task = tiny.conv()
    task.model.load_state_dict(checkpoint.read(done[0] / "merged.pt").weights, strict=True)
    task.model.eval()
    assert task.test is not None
    with torch.no_grad():
        right = sum(int((task.model(x).argmax(-1) == y).sum()) for x, y in task.test.batches(64))
    promised = read(done[0])["merged"]["scores"]["test"]
    assert right / len(task.test) == pytest.approx(promised["accuracy"])


def test_the_stored_path_is_the_one_that_was_judged(done: tuple[Path, Result], convs: list[Path]) -> None:
    path = open_run(done[0]).path
    a, b = (checkpoint.read(p).weights for p in convs)
    assert tiny.same(path.at(0), a) and tiny.same(path.at(1), align(a, b, tiny.conv()).weights)
    assert path.length_ratio == pytest.approx(read(done[0])["metrics"]["train"]["length_ratio"]["value"])


def test_the_same_seed_gives_the_same_bits(done: tuple[Path, Result], asked_conv: list[object], tmp_path: Path) -> None:
    assert merge(*asked_conv, "-o", tmp_path / "again").code == 0
    assert bits(tmp_path / "again") == bits(done[0]) != {}


def test_a_goal_out_of_reach_says_so_and_keeps_what_there_is(asked: list[object], tmp_path: Path) -> None:
    result = merge(*asked, "--budget", 3, "-o", tmp_path / "run")
    assert result.code == 3 and "not connected" in result.out and "budget" in result.out
    assert (tmp_path / "run" / "merged.pt").is_file()


@pytest.mark.parametrize(("cut", "count"), [("stage", 3), ("layer", 3), ("2", 2), ("auto", 1)])
def test_phases(asked_conv: list[object], tmp_path: Path, cut: str, count: int) -> None:
    result = merge(*asked_conv, *method("llpf", phases=cut), "-o", tmp_path / "run")
    assert result.code == 0, result.text
    assert len({tick["phase"] for tick in record(tmp_path / "run")}) == count


def test_a_schedule_file(asked_conv: list[object], tmp_path: Path) -> None:
    schedule = tmp_path / "mine.yaml"
    schedule.write_text(
        "settle: {threshold: 0.1, min_steps: 2, max_steps: 40, lr: 0.005, momentum: 0}\n"
        "phases:\n"
        "  - {name: stem, layers: [conv1, bn1], ticks: 3, step_f: 0.34}\n"
        "  - {name: everything, layers: all, ticks: 14, step_f: 0.125}\n"
    )
    asked_conv[asked_conv.index("--max-loss") + 1] = 0.4
    result = merge(*asked_conv, "-m", f"schedule={schedule}", "-o", tmp_path / "run")
    assert result.code == 0, result.text
    assert [tick["phase"] for tick in record(tmp_path / "run")][:17] == ["stem"] * 3 + ["everything"] * 14


def test_a_curve_in_place_of_a_walk(asked_conv: list[object], tmp_path: Path) -> None:
    result = merge(*asked_conv, *method("sphere-curve", steps=80, pieces=5), "--lr", 0.05, "-o", tmp_path / "run")
    assert result.code == 0, result.text
    assert "80 gradient steps" in result.out and "ends at B by construction" in result.out
    document = read(tmp_path / "run", "run")
    assert document["asked"]["method"] == "sphere-curve" and document["asked"]["method_settings"]["pieces"] == 5
    assert "-m pieces=5" in document["info"]["command"] and (tmp_path / "run" / "merged.pt").is_file()


def test_a_choice_that_is_called_none(asked: list[object], tmp_path: Path) -> None:
    """``none`` reads as no value elsewhere."""
    assert merge(*asked, "-m", "correct=none", "-m", "thin=none", "-o", tmp_path / "run").code == 0
    settings = read(tmp_path / "run", "run")["asked"]["method_settings"]
    assert settings["correct"] == "none" and settings["thin"] is None


def test_alignment_before_averaging(asked_conv: list[object], tmp_path: Path) -> None:
    plain = merge(*asked_conv, "--method", "linear", "--align", "never", "-o", tmp_path / "plain")
    aligned = merge(*asked_conv, "--method", "linear", "--align", "always", "--pick", "end", "-o", tmp_path / "aligned")
    assert "B aligned to A: 14 neurons in 2 groups" in aligned.out and "left alone: fc.weight" in aligned.out
    assert "aligned" not in plain.out
    quality = [read(tmp_path / run) for run in ("plain", "aligned")]
    losses = [one["metrics"]["train"]["integral"]["value"] for one in quality]
    assert losses[1] < losses[0]
    assert quality[1]["ends"]["B"]["test"] == pytest.approx(quality[0]["ends"]["B"]["test"], abs=1e-5)
    assert checkpoint.read(tmp_path / "aligned" / "merged.pt").weights.keys() == tiny.pair("conv")[0].keys()


def test_repair_between_aligned_ends(mlps: list[Path], tmp_path: Path) -> None:
    """The corrected path starts at A and ends at the aligned B, and the merged model on it is the better one."""
    words = [*mlps[:2], "--task", f"{tiny.__file__}:mlp", "--device", "cpu", "--no-report", "--method", "linear"]
    words += ["--align", "always", "--pick", "mid"]
    plain = merge(*words, "-o", tmp_path / "plain")
    repaired = merge(*words, "-m", "repair=true", "-o", tmp_path / "repaired")
    assert "activations between its ends corrected" in repaired.out and repaired.err == "", repaired.text
    assert "REPAIR" not in plain.text + repaired.text  # nothing but the output is left alone
    runs = [open_run(tmp_path / name) for name in ("plain", "repaired")]
    assert [len(run.path.knots) for run in runs] == [2, 11] and runs[1].path.outcome.name == "REPAIRED"
    assert all(tiny.same(runs[0].path.at(t), runs[1].path.at(t)) for t in (0, 1))
    losses = [read(tmp_path / name)["merged"]["scores"]["train"]["loss"] for name in ("plain", "repaired")]
    assert losses[1] < losses[0]
    assert merge(*words, "-m", "repair=true", "-o", tmp_path / "twice").code == repaired.code
    assert bits(tmp_path / "repaired") == bits(tmp_path / "twice")


def test_repair_says_what_it_leaves_alone(convs: list[Path], asked_conv: list[object], tmp_path: Path) -> None:
    result = merge(*asked_conv, "--method", "linear", "-m", "repair=true", "-o", tmp_path / "run")
    assert "warning: REPAIR corrects no layer of this network: 3 are left alone" in result.out, result.text
    assert "REPAIR corrects no layer" in read(tmp_path / "run", "run")["info"]["findings"][0]
    wrong = merge(*asked_conv, "--method", "linear", "-m", "repair=perhaps", "-o", tmp_path / "wrong")
    assert wrong.code == 2 and wrong.err.strip().endswith("linear: repair = 'perhaps': it must be bool"), wrong.text


def test_by_itself_it_aligns_what_lowers_the_line_and_the_verdict_says_so(
    asked_conv: list[object], tmp_path: Path
) -> None:
    result = merge(*asked_conv, "--method", "linear", "-o", tmp_path / "run")
    found = read(tmp_path / "run")["alignment"]
    assert found["kept"] == (found["aligned"] < found["line"]) and 0 < found["difference"] < 1e-5
    verdict = result.out[result.out.index("connected") :]
    assert found["sentence"] in verdict and f"line {found['line']:.3g}, aligned {found['aligned']:.3g}" in verdict
    ends = [checkpoint.read(place).weights for place in asked_conv[:2]]  # type: ignore[arg-type]
    end = open_run(tmp_path / "run").path.end
    aligned = align(*ends, tiny.conv()).weights
    assert tiny.same({k: end[k] for k in aligned}, aligned if found["kept"] else ends[1])


def test_a_schedule_says_that_nothing_is_aligned(asked_conv: list[object], tmp_path: Path) -> None:
    schedule = tmp_path / "mine.yaml"
    schedule.write_text(
        "settle: {threshold: 0.1, min_steps: 2, max_steps: 9, lr: 0.005, momentum: 0}\n"
        "phases:\n  - {name: everything, layers: all, ticks: 4, step_f: 0.3}\n"
    )
    result = merge(*asked_conv, "-m", f"schedule={schedule}", "-o", tmp_path / "run")
    assert "B's units stay as they are: a schedule of the paper is walked" in result.out, result.text
    assert read(tmp_path / "run", "run")["asked"]["align"] == "never"


def test_a_merge_goes_via_shared_spheres_where_the_ends_lie_on_different_ones(tmp_path: Path) -> None:
    places = [save(tmp_path / f"{n}.pt", w) for n, w in zip("ab", tiny.apart("conv"), strict=True)]
    words = [*places, "--task", f"{tiny.__file__}:conv", "--tolerance", 0.2, "--device", "cpu", "--no-report"]
    result = merge(*words, "-o", tmp_path / "run")
    assert result.code == 0, result.text
    assert "lie on different variance spheres" in result.out and "goes via shared ones" in result.out
    down, join = "A → A′", "A′ → B′"
    assert down in result.out and join in result.out
    assert [leg["leg"] for leg in read(tmp_path / "run")["legs"]] == [down, join]
    labels = read(tmp_path / "run", "path")["labels"]
    assert {label.get("leg") for label in labels[1:-1]} == {down, join}
    plain = merge(*words, *method("llpf", across="never"), "-o", tmp_path / "plain")
    assert join not in plain.out and "legs" not in read(tmp_path / "plain")


# ---- only checked


def test_a_dry_run_shows_the_order_and_changes_nothing(asked_conv: list[object], tmp_path: Path) -> None:
    result = merge(*asked_conv, "--dry-run", "-o", tmp_path / "run")
    assert result.code == 0 and "conv1" in result.out and "a gradient step takes" in result.out, result.text
    assert "every knot of a walk takes 0.0" in result.out and "MiB on the disk: some 70 at most" in result.out
    assert not (tmp_path / "run").exists()
    assert "on the disk: 4 at most" in merge(*asked_conv, "--dry-run", "-m", "keep_knots=4").out


def test_a_dry_run_shows_the_phases_and_the_order_that_are_asked_for(asked_conv: list[object], tmp_path: Path) -> None:
    names = [layer.name for layer in layer_order(tiny.conv().model, tiny.conv().example_inputs()).layers]
    (tmp_path / "phases.yaml").write_text(f"phases: [[{names[-1]}], [rest]]")
    words = [*asked_conv, "--dry-run", "-o", tmp_path / "run"]
    result = merge(*words, "-m", f"phases={tmp_path / 'phases.yaml'}")
    assert result.code == 0, result.text
    for setting, said in (("order", "fdf"), ("schedule", "no schedule file")):
        refused(merge(*words, "-m", f"{setting}=nonsense"), "merge", said, "nonsense")


def test_a_dry_run_of_a_folder_that_is_in_use(asked: list[object], tmp_path: Path) -> None:
    """Nothing will be written, so nothing is in the way."""
    (tmp_path / "mine.txt").write_text("mine")
    assert merge(*asked, "--dry-run", "-o", tmp_path).code == 0


def test_a_number_of_phases_means_the_same_everywhere() -> None:
    order = layer_order(tiny.conv().model, tiny.conv().example_inputs())
    assert phases(order, 2) == phases(order, "2") == phases(order, "block", 2)


# ---- odd models


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
    return Task(Shared(), **tiny.splits((4,)), build=Shared)


def save(place: Path, weights: Any) -> Path:
    torch.save(weights, place)
    return place


def test_tensors_with_three_names(tmp_path: Path) -> None:
    places = [save(tmp_path / f"{seed}.pt", train(shared(), seed, epochs=20, lr=0.05)) for seed in (0, 1)]
    words = ["--task", f"{HERE}:shared", "--tolerance", 0.5, "--no-report", "--device", "cpu"]
    result = merge(*places, *words, "-o", tmp_path / "run")
    assert result.code in (0, 3), result.text
    assert checkpoint.read(tmp_path / "run" / "merged.pt").weights.keys() == Shared().state_dict().keys()


def test_a_loss_that_turns_nan_keeps_the_partial_path(asked_conv: list[object], tmp_path: Path) -> None:
    (tmp_path / "nan_task.py").write_text(
        "from dataclasses import replace\n\nfrom helpers import tiny\nfrom llpf_plugin import classification\n\n"
        "def task():\n"
        "    calls = [0]\n"
        "    def objective(model, batch):\n"
        "        calls[0] += model.training\n"
        "        loss, right = classification(model, batch)\n"
        "        return (loss * float('nan') if calls[0] > 31 and model.training else loss), right\n"
        "    return replace(tiny.conv(), objective=objective)\n"
    )
    asked_conv[asked_conv.index("--task") + 1] = f"{tmp_path / 'nan_task.py'}:task"
    result = merge(*asked_conv, "-o", tmp_path / "run")
    assert result.code == 3 and "stopped being a number" in result.out and not result.traceback, result.text
    path = open_run(tmp_path / "run").path
    assert all(t.isfinite().all() for knot in path.knots for t in knot.values()) and len(path.knots) > 3


def test_a_run_that_diverged_has_a_finite_merged_model_and_real_json(asked_conv: list[object], tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = merge(*asked_conv, "--lr", 1e30, *method("finetune", steps=30), "-o", out)
    assert result.code == 3 and "not connected" in result.out, result.text
    assert all(t.isfinite().all() for t in checkpoint.read(out / "merged.pt").weights.values())

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for name in ("quality.json", "path.json"):
        json.loads((out / name).read_text(), parse_constant=refuse)


# ---- what is missing, in use or odd around it


def test_a_full_disk_loses_nothing(asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up in the middle of the walk: one message, and the run continues once there is room."""
    flush, written = files._flush, list[Path]()

    def full(path: Path) -> None:
        written.append(path)
        if len(written) > 16:
            raise OSError(28, "No space left on device")
        flush(path)

    monkeypatch.setattr(files, "_flush", full)
    refused(merge(*asked, "-o", tmp_path / "run"), "merge", "disk is full")
    assert (tmp_path / "run" / "state.json").is_file() and not (tmp_path / "run" / "path.json").exists()
    monkeypatch.setattr(files, "_flush", flush)
    assert merge(*asked, "-o", tmp_path / "run", "--resume").code == 0
    assert merge(*asked, "-o", tmp_path / "whole").code == 0
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_a_folder_that_holds_another_run(done: tuple[Path, Result], asked_conv: list[object]) -> None:
    before = contents(done[0])
    refused(merge(*asked_conv, "-o", done[0]), "merge", "--resume", str(done[0]))
    assert contents(done[0]) == before


def test_a_folder_that_holds_something_else(asked: list[object], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    refused(merge(*asked, "-o", tmp_path), "merge", "-o", "not an empty folder")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_refused_run_leaves_a_linked_folder_alone(asked: list[object], tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    asked[asked.index("--max-loss") + 1] = 1e-9
    refused(merge(*asked, "-o", tmp_path / "link"), "merge", "max_loss")
    assert (tmp_path / "link").is_symlink() and not list((tmp_path / "real").iterdir())


def test_words_in_brackets_are_words(asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise LLPFError("pictures need matplotlib: pip install 'llpf-plugin[report]'")

    asked.remove("--no-report")
    out = tmp_path / "out [test]"
    result = merge(*asked, "-o", out)
    assert f"merged model: {out}/merged.pt" in result.out and f"report: {out}/report.html" in result.out
    monkeypatch.setattr(watch, "draw_path", none)
    result = merge(*asked, "--no-report", "-o", tmp_path / "run")
    assert result.code == 0
    assert "no picture: pictures need matplotlib: pip install 'llpf-plugin[report]'" in result.out


def test_without_jinja_the_merge_succeeds(asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    asked.remove("--no-report")
    result = merge(*asked, "-o", tmp_path / "run")
    assert result.code == 0 and "no report" in result.out and "jinja2" in result.out, result.text


def test_without_tensorboard_no_run_is_left_behind(
    asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    refused(merge(*asked, "--tensorboard", "-o", tmp_path / "run"), "merge", "llpf-plugin[tensorboard]")
    assert not (tmp_path / "run").exists()
    assert merge(*asked, "-o", tmp_path / "run").code == 0


@pytest.mark.parametrize("command", ["merge", "compare", "origin"])
def test_a_run_can_be_watched_in_tensorboard(command: str, asked: list[object], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    words = {"merge": asked, "compare": [*asked, "--methods", "linear"], "origin": [asked[0], *asked[2:], "--to", 0.5]}
    result = llpf(command, *words[command], "--tensorboard", "-o", tmp_path / "run")
    assert result.code in (0, 3), result.text
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_no_report_where_none_is_wanted(asked: list[object], tmp_path: Path) -> None:
    assert merge(*asked, "-o", tmp_path / "run").code == 0
    assert not (tmp_path / "run" / "report.html").exists()
    assert "--no-report" in read(tmp_path / "run", "run")["info"]["command"]


# ---- data that come in another order every time


class Shuffled(torch.utils.data.Dataset[Any]):
    """The tiny task's points as a user has them."""

    def __init__(self, split: str) -> None:
        self.data = getattr(tiny.mlp(), split)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> Any:
        return self.data.inputs[i], self.data.targets[i]


def shuffled() -> Task:
    loaders = {
        s: LoaderData(torch.utils.data.DataLoader(Shuffled(s), 32, shuffle=True)) for s in ("train", "validation")
    }
    return Task(tiny.mlp().model, loaders["train"], loaders["validation"], name="shuffled")


def test_a_tree_is_resumed_though_its_data_come_in_another_order(mlps: Sequence[Path], tmp_path: Path) -> None:
    words = [*mlps, "--task", f"{HERE}:shuffled", "--no-report", "--max-loss", 0.5, "--device", "cpu"]
    first = merge(*words, "-o", tmp_path / "tree")
    merged = (tmp_path / "tree" / "1-2" / "merged.pt").read_bytes()
    again = merge(*words, "-o", tmp_path / "tree", "--resume")
    assert (again.code, again.err) == (first.code, first.err), again.text
    assert (tmp_path / "tree" / "1-2" / "merged.pt").read_bytes() == merged
    assert "does not repeat its batches" in again.out
