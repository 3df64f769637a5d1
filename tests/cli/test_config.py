"""``--config run.yaml``: all that can be said on the command line, as a run writes it and as people write it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import tiny
from helpers.commands import llpf, merge
from helpers.refusals import USAGE, refused
from helpers.run_folders import bits, read

from llpf_cli.app import app, options_of
from llpf_cli.config import with_config
from llpf_cli.texts import HELP

TASK = f"{tiny.__file__}:mlp"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(**document: Any) -> str:
    """The name of a file that says this."""
    Path("run.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return "run.yaml"


# ---- what a run writes repeats it


@pytest.mark.parametrize("command", ["merge", "tree", "compare", "origin"])
def test_what_a_run_writes_repeats_it_bit_for_bit(command: str, mlps: list[Path]) -> None:
    words = ["--task", TASK, "--points", 1, "--device", "cpu", "--no-report", "--seed", 3, "--batch-size", 16]
    line = {
        "merge": ["merge", *mlps[:2], "--max-loss", 0.2, "-m", "share=0.2", "-m", "correct=none", "--pick", "mid"],
        "tree": ["merge", *mlps, "--tolerance", 0.3, "--method", "bezier", "-m", "steps=20"],
        "compare": ["compare", *mlps[:2], "--max-loss", 0.2, "--methods", "llpf,finetune", "--align", "auto"],
        "origin": ["origin", mlps[0], "--to", 0.5, "--ticks", 5, "--pick", 0.5],
    }[command]
    first = llpf(*line, *words, "-o", "first")
    assert first.code in (0, 3), first.text
    again = llpf("--config", "first/config.yaml", "--trust", "-o", "again")
    assert again.code == first.code, again.text
    assert bits(Path("again")) == bits(Path("first")) != {}
    for name in ("run.json", "compare.json", "1-2/run.json"):
        if (Path("first") / name).is_file() and name.endswith("run.json"):
            one, other = (read(Path(run), name.removesuffix(".json"))["asked"] for run in ("first", "again"))
            assert one == other
    configs = [yaml.safe_load(Path(run, "config.yaml").read_text()) for run in ("first", "again")]
    assert configs[0].pop("out") == "first" and configs[1].pop("out") == "again" and configs[0] == configs[1]


def test_a_task_with_arguments_and_flags_are_written_too(mlps: list[Path]) -> None:
    Path("mine.py").write_text(
        "from helpers import tiny\n\ndef task(name='x', count=1, on=False):\n    return tiny.mlp()\n"
    )
    words = ["--task", "mine.py:task", "-t", "name='7'", "-t", "count=2", "-t", "on=true", "--tensorboard"]
    assert merge(*mlps[:2], *words, "--max-loss", 0.2, "--device", "cpu", "-o", "run").code == 0
    document = yaml.safe_load(Path("run/config.yaml").read_text())
    assert document["task_args"] == ["name='7'", "count=2", "on=true"] and document["tensorboard"] is True
    assert "report" not in document and "resume" not in document
    assert merge("--config", "run/config.yaml", "--trust", "-o", "again").code == 0
    arguments = [read(Path(run), "run")["asked"]["task_arguments"] for run in ("run", "again")]
    assert arguments[0] == arguments[1] == {"name": "7", "count": 2, "on": True}


def test_a_stopped_run_is_continued_by_its_own_file(asked: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("llpf_cli.watch.draw_path", stop)
        assert merge(*asked, "-o", "run").code == 130
    assert merge("--config", "run/config.yaml", "--trust", "--resume").code == 0


# ---- everything that can be said


def values(command: str) -> dict[str, Any]:
    """One value of each kind of option, unlike its default."""
    own = {"align": True} if command == "check" else {}
    return {
        "max_loss": 0.3, "tolerance": 0.2, "budget": 7, "lr": 0.5, "momentum": 0.1, "batch_size": 3, "seed": 9,
        "task": "x", "model": "y", "task_args": {"width": 2}, "method": "bezier", "method_args": {"steps": 3},
        "methods": "llpf",
        "align": "always", "pick": "mid", "points": 2, "sample": 5, "measure": "exact",
        "out": "o", "resume": True, "report": False,
        "tensorboard": True, "dry_run": True, "device": "cpu", "precision": "bfloat16", "compile": True,
        "shard": True, "to": 0.5, "ticks": 4, "compare": True, "metrics": "all", "figures": "png", "json": True,
        "input": "1x3", "dtype": "int64", "inputs": "file", "no_inputs": True, "unused": True,
        "groups": True, "order": "levels", "phases": "2",
        "format": "json", "level": "layer", "depth": 2, "output": "o.json",
        "state": "ema", "heads": "union", "labels": "a,b", "strip": "net.", "shard_size": "2GB", "at": 0.3, **own,
    }  # fmt: skip


OPTIONS = [
    (command, name)
    for command in HELP
    for name in sorted({n[2:].replace("-", "_") for n in options_of(command).long} - {"config", "trust", "no_report"})
]


@pytest.mark.parametrize(("command", "name"), OPTIONS)
def test_every_option_can_stand_in_the_file(command: str, name: str) -> None:
    """The parser takes the words that the entry becomes, and they say the same."""
    key = {"task_arg": "task_args", "method_arg": "method_args"}.get(name, name)
    value = values(command)[key]
    file = written(command=command, **{key: value})
    tokens = with_config(["--config", file], options_of)
    assert tokens[0] == command and len(tokens) > 1
    needed = ["x"] * {"origin": 1, "order": 1, "point": 1, "rebn": 1, "convert": 2}.get(command, 0)
    app[command].parse_args([*needed, *tokens[1:]], exit_on_error=False, print_error=False)
    long = "--" + name.replace("_", "-")
    spelled = {
        "--task-arg": ["-t", "width=2"], "--method-arg": ["-m", "steps=3"], "--report": ["--no-report"],
    }.get(long, [long] if value is True else [long, str(value)])  # fmt: skip
    assert tokens[1:] == spelled


def test_the_command_may_be_said_on_either_side(asked: list[object]) -> None:
    file = written(models=[str(word) for word in asked[:2]], task=TASK, max_loss=0.2, device="cpu", report=False)
    assert merge("--config", file, "--trust", "-o", "one").code == 0
    Path(file).write_text("command: merge\n" + Path(file).read_text())
    assert llpf(f"--config={file}", "--task", TASK, "-o", "two").code == 0
    assert bits(Path("one")) == bits(Path("two"))


def test_names_may_have_hyphens_and_text_stays_text() -> None:
    settings = {"correct": "none", "thin": None, "phases": "2", "share": 0.5}
    file = written(**{"max-loss": "1e-3", "method-args": settings})
    assert with_config(["merge", "--config", file], options_of) == [
        "merge", "--max-loss", "1e-3", "-m", "correct='none'", "-m", "thin=None", "-m", "phases='2'", "-m", "share=0.5",
    ]  # fmt: skip


# ---- what is said beside it wins


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ([], ["a", "b", "--task", "t", "--out", "run", "-m", "share=0.5", "--no-report", "--lr", "0.1"]),
        (["-o", "x"], ["a", "b", "--task", "t", "-m", "share=0.5", "--no-report", "--lr", "0.1", "-o", "x"]),
        (["--lr=2"], ["a", "b", "--task", "t", "--out", "run", "-m", "share=0.5", "--no-report", "--lr=2"]),
        (["--report"], ["a", "b", "--task", "t", "--out", "run", "-m", "share=0.5", "--lr", "0.1", "--report"]),
        (["c", "d"], ["--task", "t", "--out", "run", "-m", "share=0.5", "--no-report", "--lr", "0.1", "c", "d"]),
        (
            ["--resume", "c", "d"],
            ["--task", "t", "--out", "run", "-m", "share=0.5", "--no-report", "--lr", "0.1", "--resume", "c", "d"],
        ),
        (
            ["--seed", "1"],
            ["a", "b", "--task", "t", "--out", "run", "-m", "share=0.5", "--no-report", "--lr", "0.1", "--seed", "1"],
        ),
    ],
)
def test_options_beside_it_win(said: list[str], tokens: list[str]) -> None:
    file = written(
        command="merge", models=["a", "b"], task="t", out="run", method_args={"share": 0.5}, report=False, lr=0.1
    )
    assert with_config(["merge", *said, "--config", file], options_of) == ["merge", *tokens]


def test_settings_beside_it_win_one_by_one(asked: list[object]) -> None:
    file = written(method_args={"share": 0.5, "repairs": 1})
    assert merge(*asked, "--config", file, "-m", "share=0.25", "-o", "run").code == 0
    settings = read(Path("run"), "run")["asked"]["method_settings"]
    assert settings["share"] == 0.25 and settings["repairs"] == 1


# ---- wrong files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- merge\n", "expected a mapping of options, got list"),
        ("", "expected a mapping of options, got NoneType"),
        ("lr: [1\n", "is not YAML: line 2: "),
        ("lr: \x00\n", "is not YAML: "),
        ("task: " + 3000 * "[" + 3000 * "]", "is not YAML: "),
        ("learning_rate: 3\n", "llpf merge has no option 'learning_rate'"),
        ("max_los: 3\n", "did you mean max_loss"),
        ("to: 0.5\n", "llpf merge has no option 'to'"),
        ("config: other.yaml\n", "llpf merge has no option 'config'"),
        ("command: compare\n", "is the configuration of llpf compare, not of llpf merge"),
        ("models: 3\n", "models must be a list of checkpoints, got 3"),
        ("models: [1, 2]\n", "models must be a list of checkpoints"),
        ("method_args: 3\n", "method_args must be a mapping, or a list of key=value, got 3"),
        ("method_args: [{share: 3}]\n", "method_args must be a mapping"),
        ("method_args: [share]\n", "'share' is not of the form key=value"),
        ("resume: perhaps\n", "resume must be true or false, got 'perhaps'"),
        ("lr: fast\n", "--lr"),
        ("lr: [1, 2]\n", "--lr"),
        ("align: perhaps\n", "--align"),
        ("pick: worst\n", "best, mid, end"),
    ],
)
def test_a_wrong_file_gets_one_sentence(text: str, message: str, asked: list[object]) -> None:
    Path("wrong.yaml").write_text(text)
    result = merge(*asked, "--config", "wrong.yaml", "-o", "run")
    refused(result, "merge", message, code=USAGE)
    assert len(result.err.splitlines()) == 1 and len(result.err) < 500
    assert not Path("run").exists()


def test_a_file_that_cannot_be_read(asked: list[object], here: Path) -> None:
    for file, words in (("nowhere.yaml", "No such file"), (here, "Is a directory")):
        refused(merge(*asked, "--config", file), "merge", str(file), words, code=USAGE)
    Path("latin.yaml").write_bytes("task: é\n".encode("latin-1"))
    refused(merge(*asked, "--config", "latin.yaml"), "merge", "is not YAML", code=USAGE)
    refused(merge(*asked, "--config"), "merge", "--config needs a value", code=USAGE)


def test_a_file_of_no_command() -> None:
    refused(llpf("--config", written(lr=0.1)), "", "names no command", "command: merge", code=USAGE)
    refused(llpf("--config", written(command="magic")), "", 'unknown command "magic"', code=USAGE)
