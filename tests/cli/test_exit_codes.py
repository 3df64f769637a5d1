"""One policy for all commands: 0 done, 1 an error, 2 wrong usage, 3 goal not reached, 130 Ctrl-C.

Wrong usage is what the command line shows by itself: an unknown option, a value that an option does not take, options
that do not go together. What is named and cannot be had, a file, a task, a model, is an error.
"""

from pathlib import Path

import pytest
from helpers import tiny
from helpers.commands import llpf
from helpers.refusals import ERROR, USAGE, refused

MODEL = f"{tiny.__file__}:mlp"
TASK = f"--task {MODEL}"

ERRORS = {
    "merge": [
        (f"none.pt none.pt {TASK}", "none.pt"),
        (f"A B {TASK}x", "mlpx"),
        ("A B --task digits/resent", "digits/resnet"),
        (f"A B {TASK} -t width=3", "width"),
        (f"A B {TASK} -m schedule=nowhere.yaml", "nowhere.yaml"),
        (f"A B {TASK} -m phases=stages", "stages"),
        (f"A B {TASK} -m order=nonsense", "nonsense"),
        (f"A B {TASK} --method nowhere.py:Method", "nowhere.py"),
        (f"A B {TASK} --device cuda:99", "cuda:99"),
        (f"A B {TASK} --max-loss 1e-9", "1e-09"),
        (f"A A {TASK}", "same model"),
    ],
    "compare": [(f"none.pt none.pt {TASK}", "none.pt"), (f"A B {TASK} --methods nowhere.py:Method", "nowhere.py")],
    "align": [
        (f"A none.pt {TASK} -o o", "none.pt"),
        ("A B --model nowhere.py:model -o o", "nowhere.py"),
        (f"A B {TASK} -t width=3 -o o", "width"),
        (f"A B C {TASK} -o FULL", "FULL is there already"),
        (f"A B {TASK} -o o.safetensors", "name it o.pt"),
    ],
    "origin": [(f"none.pt {TASK}", "none.pt"), (f"A {TASK} --to none.pt", "none.pt")],
    "order": [("nowhere.py:model", "nowhere.py"), ("digits/mpl", "digits/mlp"), ("nowhere.json", "nowhere.json")],
    "report": [("nowhere", "nowhere is not a folder"), (".", "holds no run")],
    "methods": [("nowhere.py:Method", "nowhere.py"), ("os:path", "not a method")],
    "check": [
        ("A none.pt", "none.pt"),
        ("A B --align --model nowhere.py:model", "nowhere.py"),
        ("A B --state ema", "holds no weights called 'ema'"),
    ],
    "point": [("nowhere --at 0.5 -o x", "nowhere is not a folder"), ("FULL --at 0.5 -o x", "run.json is missing")],
    "convert": [
        ("none.pt x.pt", "none.pt does not exist"),
        ("A FULL", "FULL is there already"),
        ("A FULL/mine.txt", "FULL/mine.txt is there already"),
        ("A x.h5", "x.h5 has the suffix of no format"),
        ("A x.pt --strip net.", "no name begins with 'net.'; the first one is '0.weight'"),
        ("A x.pt --state ema", "holds no weights called 'ema', but: state_dict (4 tensors)"),
    ],
    "rebn": [
        (f"none.pt {TASK} -o x.pt", "none.pt"),
        (f"A {TASK} -o x.pt", "no running statistics"),
        (f"A {TASK} -o FULL/mine.pth", "no running statistics"),
        (f"A --task {tiny.__file__}:conv -o x.pt", "are missing in"),
    ],
    "demo": [("-o FULL", "FULL is not an empty folder")],
}  # fmt: skip
"""Arguments that are understood, and cannot be done."""

WRONG = {
    "": [("magic", 'unknown command "magic"')],
    "merge": [
        ("", "two checkpoints or more"),
        (f"A {TASK}", "two checkpoints or more"),
        ("A B", "--task is needed"),
        (f"A B {TASK} --magic", "--magic"),
        (f"A B {TASK} --budget", "--budget needs a value"),
        (f"A B {TASK} --budget many", "--budget"),
        (f"A B {TASK} --budget 0", "budget = 0: it must be above 0"),
        (f"A B {TASK} --points 0", "points = 0: it must be above 0"),
        (f"A B {TASK} --momentum 1", "momentum = 1.0: it must be at least 0 and below 1"),
        (f"A B {TASK} --max-loss 0.1 --tolerance 0.1", "give one"),
        (f"A B {TASK} --max-loss 0.1 --max-loss 0.2", "--max-loss is given twice"),
        (f"A B {TASK} --pick worst", "best, mid, end"),
        (f"A B {TASK} --pick 1.5", "[0, 1]"),
        (f"A B {TASK} --align perhaps", "auto"),
        (f"A B {TASK} --precision int4", "bfloat16"),
        (f"A B {TASK} --method magic", "there is no method 'magic': did you mean autoneb"),
        (f"A B {TASK} -m magic=3", "'llpf' has no setting 'magic'"),
        (f"A B {TASK} -m share=7", "share = 7: it must be in (0, 1]"),
        (f"A B {TASK} -m across=perhaps", "auto, never, always"),
        (f"A B {TASK} -m repairs=half", "repairs = 'half': it must be int"),
        (f"A B {TASK} -m share", "'share' is not of the form key=value"),
        (f"A B {TASK} -t width", "'width' is not of the form key=value"),
        (f"A B {TASK} --to 0.5", "--to"),
        (f"A B --model {MODEL}", "--method llpf needs data: give --task"),
        (f"A B --model {MODEL} --method linear --max-loss 0.1", "--max-loss needs data"),
        (f"A B --model {MODEL} --method linear --resume", "--resume needs data"),
        (f"A B {TASK} --model {MODEL} --method linear", "not both"),
        (f"A B {TASK} -i 1x6", "go with --model"),
        (f"A B C --model {MODEL} --method linear --pick 0.3", "a place between two models, and 3 are named"),
    ],
    "align": [
        ("", "two checkpoints or more"),
        (f"A {TASK} -o o", "two checkpoints or more"),
        (f"A A {TASK} -o o", "named twice"),
        (f"A B {TASK}", "-o is needed"),
        ("A B -o o", "--task or --model is needed"),
        (f"A B {TASK} --model {MODEL} -o o", "not both"),
        (f"A B {TASK} -i 1x6 -o o", "not both"),
        (f"A B --model {MODEL} -i 1x6 --inputs x.py:f -o o", "give one of --input and --inputs"),
        (f"A B --model {MODEL} -i 1xx3 -o o", "'1xx3' is not a shape"),
    ],
    "compare": [
        (f"A {TASK}", "two checkpoints: llpf compare A B"),
        (f"A B C {TASK}", "two checkpoints: llpf compare A B"),
        (f"A B {TASK} --methods magic", "there is no method 'magic'"),
        (f"A B {TASK} --methods linear,linear", "once"),
        (f"A B {TASK} --methods linear -m share=0.2", "leaves out"),
        (f"A B {TASK} --budget 0", "budget"),
        (f"A B {TASK} --pick worst", "best, mid, end"),
        (f"A B {TASK} --dry-run", "--dry-run"),
    ],
    "origin": [
        (TASK, "A is missing"),
        ("A", "--task is needed"),
        (f"A B {TASK}", "is one argument too many"),
        (f"A 0.5 {TASK}", "0.5 is one argument too many"),
        (f"A {TASK} --to 1.5", "--to 1.5: it must be in [0, 1)"),
        (f"A {TASK} --ticks 0", "--ticks 0: it must be at least 1"),
        (f"A {TASK} --pick worst", "best, mid, end"),
        (f"A {TASK} --align always", "--align"),
        (f"A {TASK} --method linear", "--method"),
    ],
    "order": [
        ("", "MODEL is missing"),
        ("digits/mlp width", "'width' is not of the form key=value"),
        ("digits/mlp -i 1x4 --no-inputs", "give one of --input, --inputs and --no-inputs"),
        ("digits/mlp -i 1xx3", "'1xx3' is not a shape"),
        ("digits/mlp -i 1x3:floaty", "'floaty' is not a torch dtype"),
        ("digits/mlp -i 1x3 -i input=1x3", "not both"),
        ("digits/mlp --format gif", "mermaid"),
        ("digits/mlp -o picture.gif", "picture.gif: unknown kind of file"),
        ("digits/mlp -o picture.png", "write .svg and convert it"),
        ("digits/mlp -o nowhere/order.svg", "the folder nowhere does not exist"),
    ],
    "report": [
        ("", "llpf report run"),
        ("run --metrics beauty", "beauty: it is a list of plane, saddle"),
        ("run --figures gif", "gif: it is a list of png, svg, pdf"),
        ("run --points 0", "--points 0: it must be at least 1"),
        ("run --sample 0", "--sample 0: it must be at least 1"),
        ("run --method linear", "--method"),
    ],
    "check": [
        ("", "two checkpoints are needed"),
        ("A", "two checkpoints are needed"),
        ("A B C", "two checkpoints are needed"),
        ("A B --align", "--align needs the network"),
        (f"A B {TASK} --model {MODEL}", "not both"),
    ],
    "point": [
        ("", "RUN is missing"),
        ("run -o x", "--at is needed"),
        ("run --at 0.5", "-o is needed"),
        ("run --at 1.5 -o x", "--at 1.5: it must be a number in [0, 1], or mid"),
        ("run --at nan -o x", "--at nan: it must be"),
    ],
    "convert": [
        ("", "IN is missing"),
        ("A", "OUT is missing"),
        ("A x.pt --shard-size many", "--shard-size many: write a size such as 500MB"),
        ("A x.pt --shard-size 0GB", "--shard-size 0GB"),
    ],
    "rebn": [
        ("", "X is missing"),
        ("A -o x.pt", "--task is needed"),
        (f"A {TASK}", "-o is needed"),
        (f"A {TASK} -o x.pt --sample 0", "--sample 0: it must be at least 1"),
    ],
    "methods": [("magic", "there is no method 'magic'"), ("llpf linear", "linear is one argument too many")],
    "demo": [
        ("A", "is one argument too many"),
        (f"{TASK}", "--task"),
        ("--max-loss 0.2", "--max-loss"),
        ("--seed one", "--seed"),
    ],
}
"""Arguments that make no sense."""


def rows(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(command, *row) for command, some in table.items() for row in some]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, but for one that is in use."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "mine.txt").write_text("mine")
    return tmp_path


def words(arguments: str, mlps: list[Path]) -> list[object]:
    names = dict(zip("ABC", mlps, strict=True))
    return [names.get(word, word) for word in arguments.split()]


@pytest.mark.parametrize(("command", "arguments", "message"), rows(ERRORS))
def test_an_error_exits_1(command: str, arguments: str, message: str, mlps: list[Path], here: Path) -> None:
    refused(llpf(command, *words(arguments, mlps)), command, message, code=ERROR)
    assert [p.name for p in here.iterdir()] == ["FULL"], "what is refused leaves nothing behind"
    assert [p.name for p in (here / "FULL").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("command", "arguments", "message"), rows(WRONG))
def test_wrong_usage_exits_2(command: str, arguments: str, message: str, mlps: list[Path], here: Path) -> None:
    result = llpf(*filter(None, [command]), *words(arguments, mlps))
    refused(result, command, message, code=USAGE)
    assert len(result.err.splitlines()) == 1 and result.out == "", "one sentence, before any work"
    assert [p.name for p in here.iterdir()] == ["FULL"]


def test_every_command_is_in_both_tables() -> None:
    from llpf_cli.texts import HELP

    assert set(ERRORS) == set(HELP) and set(WRONG) == {"", *HELP}


@pytest.mark.usefixtures("pageless")
def test_a_goal_out_of_reach_exits_3(asked: list[object], here: Path) -> None:
    result = llpf("merge", *asked, "--budget", 1, "-o", "run")
    assert result.code == 3 and "not connected" in result.out and result.err == "", result.text
    assert llpf("report", "run", "--trust", "--metrics", "none", "--figures", "none").code == 3
    assert llpf("compare", *asked, "--methods", "finetune", "--budget", 5, "-o", "compared").code == 3
    assert llpf("origin", asked[0], *asked[2:], "--budget", 1, "--to", 0.1, "-o", "down").code == 3
