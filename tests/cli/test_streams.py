"""Whatever is printed, a stream of any encoding takes it, and nothing printed steers the terminal."""

import io
import sys

import pytest
from helpers.commands import llpf
from rich.table import Table

from llpf_cli.streams import fall_back, shorten_ignored
from llpf_cli.terminal import terminal

OURS = "A → B: ✓ loss ≤ 0.1 – and so on …"


def printed(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> bytes:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    fall_back()
    print(text, flush=True, end="")
    return raw.getvalue()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"A -> B: + loss <= 0.1 - and so on ..."),
        ("latin-1", b"A -> B: + loss <= 0.1 - and so on ..."),
        ("cp1252", "A -> B: + loss <= 0.1 – and so on …".encode("cp1252")),
        ("utf-8", OURS.encode()),
    ],
)
def test_a_character_that_an_encoding_lacks_has_one_near_it(
    monkeypatch: pytest.MonkeyPatch, encoding: str, expected: bytes
) -> None:
    assert printed(monkeypatch, encoding, OURS) == expected


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16"])
def test_text_of_any_kind_is_printed(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    seen = printed(monkeypatch, encoding, "層 \udcff é").decode(encoding)
    assert "\\udcff" in seen and ("層" in seen or "\\u5c64" in seen)


def test_control_characters_are_shown_and_not_obeyed() -> None:
    table = Table("name")
    table.add_row("\x1b[2J\x9b31m")
    out = io.StringIO()
    console = terminal(file=out, width=80, force_terminal=True)
    console.print(table)
    console.print("\x1b]0;owned\x07", markup=False, highlight=False, style="bold")
    text = out.getvalue()
    assert "\\x1b[2J\\x9b31m" in text and "\\x1b]0;owned" in text
    assert "\x1b[1m" in text, "styles of our own are kept"
    assert "\x1b[2J" not in text and "\x1b]0" not in text and "\x9b" not in text and "\x07" not in text


@pytest.mark.parametrize("words", [["merge", "a\udcff.pt", "b.pt"], ["order", "x.py:m", "-o", "\udcff.json"]])
def test_a_word_that_is_no_text_is_refused(words: list[str]) -> None:
    result = llpf(*words)
    assert result.code == 1 and "is not UTF-8" in result.err and len(result.err.splitlines()) == 1


class Stubborn:
    def __del__(self) -> None:
        raise RuntimeError("DataLoader worker (pid 7)\nexited")


def test_what_fails_in_a_finalizer_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    shorten_ignored()
    Stubborn()
    said = "llpf: passed over in Stubborn.__del__: RuntimeError: DataLoader worker (pid 7) exited\n"
    assert capsys.readouterr().err == said
