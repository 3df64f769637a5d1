"""JSON of others is read within bounds, or refused in one sentence."""

import json
import os
from pathlib import Path

import pytest

from llpf_plugin.documents import listed, read_json
from llpf_plugin.errors import CheckpointError


def refused(place: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        read_json(place, CheckpointError)
    assert len(str(caught.value)) < 500 and str(caught.value).isprintable()


def test_what_is_json_is_read(tmp_path: Path) -> None:
    document = {"a": [1, None, 2.5], "ä": {"b": True}}
    (tmp_path / "a.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    assert read_json(tmp_path / "a.json", CheckpointError) == document


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "a.json is not JSON: Expecting value"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\xfa", "is not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" + b"[]," * 2_000_000 + b"1]", "holds 2,000,001 lists and objects"),
        (b"9" * 5000, "is not JSON: Exceeds the limit"),
        (b'{"a": "' + b"\x1b" * 5000 + b'"}', "is not JSON: Invalid control character"),
    ],
)
def test_what_is_not_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    refused(tmp_path / "a.json", match)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "no regular file")
    refused(tmp_path, "no regular file")
    refused(tmp_path / "gone", "No such file")
    refused(tmp_path / ("x" * 300), "name too long")


def test_values_are_listed_in_a_few_words() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(map(str, range(9)), most=2) == "0, 1, … (9 in all)"
    assert listed(["\x1b[31m" + "x" * 100, 3], longest=20) == r"\x1b[31m...xxxxxxxx" + ", 3"
