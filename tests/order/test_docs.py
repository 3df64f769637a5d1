"""What the documentation shows is what the command prints."""

import re
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest
from helpers.commands import order

PAGE = (Path(__file__).parents[2] / "docs" / "commands" / "order.md").read_text(encoding="utf-8")
SHOWN = [
    (found[1], [line for line in found[2].splitlines() if line and line != "…"])
    for found in re.finditer(r"```console\n\$ llpf order (.*)\n((?:.*\n)*?)```", PAGE)
]
"""Of every command on the page: its words, and the lines that it is said to print; an ellipsis leaves some out."""


def test_the_page_shows_a_table_and_a_tree() -> None:
    assert {words.split()[0] for words, _ in SHOWN} >= {"torchvision:resnet18", "hf:mixtral"}
    assert all(len(lines) >= 14 for _, lines in SHOWN)


@pytest.mark.parametrize(("words", "lines"), SHOWN)
def test_what_the_page_shows_is_what_is_printed(words: str, lines: list[str]) -> None:
    result = order(*shlex.split(words))
    if "is not installed" in result.err:
        pytest.skip(result.err)
    assert result.code == 0, result.text
    if "hf:" in words and int(version("transformers").partition(".")[0]) < 5:
        lines = []  # transformers 4 calls the same modules otherwise
    printed = [line.rstrip() for line in result.out.splitlines()]
    places = [printed.index(line) for line in lines]
    assert places == sorted(places)
