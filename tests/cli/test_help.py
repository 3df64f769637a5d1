"""``--help``: short, quick, with examples that are a list, and the same whatever way a command is called."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import scripts
from helpers.commands import Result, llpf, process

from llpf_cli.texts import EXAMPLES, EXIT_CODES, HELP

COMMANDS = list(HELP)
COLUMNS = 100
LINES = 80
OPTIONS = {
    "merge": 34, "compare": 27, "align": 9, "origin": 28, "order": 15, "report": 15, "demo": 10, "methods": 0,
    "point": 2, "convert": 3, "rebn": 10, "check": 10,
}  # fmt: skip
"""The most options that a command may show: what a method or a task can be told is not among them."""


def shown(*words: str) -> Result:
    """What is printed in a window of `COLUMNS`."""
    return process("llpf", *words, env={"COLUMNS": str(COLUMNS)})


@pytest.fixture(scope="module", params=["", *COMMANDS])
def page(request: pytest.FixtureRequest) -> tuple[str, list[str]]:
    """A command, empty for ``llpf`` itself, and the lines of its ``--help``."""
    words = [request.param] if request.param else []
    result = shown(*words, "--help")
    assert result.code == 0 and result.err == "", result.text
    return request.param, [line.rstrip() for line in result.out.splitlines()]


def test_it_fits_on_a_screen(page: tuple[str, list[str]]) -> None:
    _, lines = page
    assert len(lines) <= LINES and max(map(len, lines)) <= COLUMNS


def test_the_exit_codes_are_a_paragraph_of_their_own(page: tuple[str, list[str]]) -> None:
    _, lines = page
    place = lines.index(EXIT_CODES)
    assert lines[place - 1] == "" and not any(lines[place + 1 :])


def test_the_examples_are_a_list(page: tuple[str, list[str]]) -> None:
    command, lines = page
    if not command:
        return
    examples = [line.strip("- ").replace("`", "") for line in EXAMPLES[command].strip().splitlines()]
    below = lines[lines.index("Examples:") + 1 :]
    points = re.findall(r"^ • (.*(?:\n {3}.*)*)", "\n".join(below), flags=re.MULTILINE)
    assert [re.sub(r"\n +", " ", point) for point in points] == examples
    assert all(f"llpf {command}" in example for example in examples) and examples


def test_options_are_few_and_stand_in_panels(page: tuple[str, list[str]]) -> None:
    command, lines = page
    if not command:
        return
    options = [line for line in lines if re.match(r"│ +(\* +)?--", line)]
    assert len(options) <= OPTIONS[command]
    panels = re.findall(r"╭─ (.*?) ─+╮", "\n".join(lines))
    if command in ("merge", "compare", "origin"):
        assert panels == ["Arguments", "Goal and budget", "Path", "Output", "Compute"]


def test_what_was_useless_is_not_recommended(page: tuple[str, list[str]]) -> None:
    text = " ".join(page[1]).lower()
    for word in ("both ends", "sides", "polish", "ablate", "adam"):
        assert word not in text


def test_the_list_of_commands_has_each_with_its_summary() -> None:
    text = " ".join(llpf("--help").out.replace("│", " ").split())
    for command, description in HELP.items():
        assert f"{command} {description.splitlines()[0]}" in text


def test_llpf_alone_shows_what_there_is() -> None:
    assert llpf().code == 0 and llpf().out == llpf("--help").out


def test_what_a_model_may_be_is_said() -> None:
    text = llpf("order", "--help").out
    for word in ("module:function", "file.py:function", "torchvision:NAME", "timm:NAME", "hf:CONFIG", "digits/resnet"):
        assert word in text
    assert "JSON file that this command wrote" in " ".join(text.split())


def test_the_methods_and_how_they_are_told_something_is_said() -> None:
    text = llpf("merge", "--help").out
    for word in (
        "llpf, sphere-curve, bezier, autoneb, learned-matching, linear, finetune",
        "file.py:Class",
        "key=value",
        "llpf methods",
    ):
        assert word in text


@pytest.mark.parametrize("command", ["merge", "order", "report"])
def test_the_scripts_are_the_commands(command: str) -> None:
    script, whole = process(f"llpf-{command}", "--help"), process("llpf", command, "--help")
    assert script.code == whole.code == 0 and script.out == whole.out


def test_every_script_exists() -> None:
    import tomllib

    project = tomllib.loads((Path(scripts.__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["project"]["scripts"]) == {
        "llpf",
        "llpf-merge",
        "llpf-order",
        "llpf-report",
        "llpf-mergekit-yaml",
    }


def test_help_needs_neither_torch_nor_numpy_nor_scipy() -> None:
    """All commands in one process, since each starts Python anew otherwise."""
    code = (
        "import sys\nfrom helpers import scripts\n"
        f"for words in {[[], ['--help'], ['--version'], *([c, '--help'] for c in COMMANDS), ['methods']]}:\n"
        "    sys.argv = ['llpf', *words]\n"
        "    try:\n        scripts.run('llpf')\n"
        "    except SystemExit as stop:\n        assert not stop.code, words\n"
        "print('loaded:', sorted({'torch', 'numpy', 'scipy', 'matplotlib', 'sklearn'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(scripts.__file__).parents[1]
    )
    assert done.returncode == 0 and done.stdout.endswith("loaded: []\n"), done.stdout[-500:] + done.stderr[-500:]


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert llpf("--version").out.strip() == f"llpf-plugin {version('llpf-plugin')}"
