"""YAML that people write is read within bounds, and whatever is wrong with it is one short error."""

import os
from pathlib import Path

import pytest

from llpf_plugin.documents import parse_yaml, quoted, read_yaml
from llpf_plugin.documents.yaml_file import LARGEST, MOST
from llpf_plugin.errors import OrderError, ScheduleError


def test_an_ordinary_document_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: &b {lr: 0.1, layers: [a, é]}\nown: {<<: *b, lr: 1}\n", encoding="utf-8")
    found = read_yaml(tmp_path / "a.yaml", ScheduleError)
    assert found == {"base": {"lr": 0.1, "layers": ["a", "é"]}, "own": {"lr": 1, "layers": ["a", "é"]}}
    assert parse_yaml("", ScheduleError, "a") is None


MERGED = ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40))]
BAD = {
    "an integer that is none": ("a: !!int ''", "not what its tag says"),
    "a truth value that is none": ("a: !!bool maybe", "not what its tag says"),
    "a time that is none": ("a: !!timestamp soon", "not what its tag says"),
    "a number of 301 digits": (f"- 1\n- {301 * '7'}", "line 2: a number of more than 300 digits"),
    "a number of many parts": (f"a: {400 * '1:'}30", "more than 300 digits"),
    "an unknown tag": ("a: !!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
    "a list that holds itself": ("a: &a [1, *a]", "holds itself"),
    "mappings that hold each other": ("a: &a {b: &b {c: *a}}", "holds itself"),
    "mappings merged twice each": ("\n".join(MERGED), "more than 200,000 values"),
    "mappings, nested": (3000 * "{a: " + 3000 * "}", "nested too deep"),
    "bytes of no text": (b"a: \xff\xfe", "is not YAML"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_document_that_nobody_could_mean(name: str) -> None:
    text, words = BAD[name]
    with pytest.raises(ScheduleError, match=words) as raised:
        parse_yaml(text, ScheduleError, "mine.yaml")
    assert str(raised.value).startswith("mine.yaml ") and len(str(raised.value)) < 400


def test_aliases_count_as_often_as_they_stand_there() -> None:
    text = f"a: &a [{', '.join('1' for _ in range(99))}]\nb: [{', '.join('*a' for _ in range(1000))}]\n"
    assert len(parse_yaml(text, OrderError, "a")["b"]) == 1000
    with pytest.raises(OrderError, match="values"):
        parse_yaml(f"{text}c: [{', '.join('*a' for _ in range(MOST // 100))}]\n", OrderError, "a")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.yaml")
    with pytest.raises(OrderError, match="no regular file"):
        read_yaml(tmp_path / "p.yaml", OrderError)


def test_a_file_that_is_missing_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(OrderError, match=r"the phases in .* cannot be read: No such file"):
        read_yaml(tmp_path / "a.yaml", OrderError, f"the phases in {tmp_path / 'a.yaml'}")
    (tmp_path / "a.yaml").write_bytes(LARGEST * b"#" + b"\n")
    with pytest.raises(OrderError, match="larger than 2 MB"):
        read_yaml(tmp_path / "a.yaml", OrderError)


@pytest.mark.parametrize("value", ["a", 3, 1.5, None, ["a", {"b": 1}], {"step_a": 0.1}, "it's"])
def test_what_is_short_is_quoted_as_python_writes_it(value: object) -> None:
    assert quoted(value) == repr(value)


def test_what_is_long_deep_or_hard_to_print_is_shortened() -> None:
    laughs: object = "ha"
    for _ in range(60):
        laughs = [laughs, laughs]
    numbers, texts = (10**6000, -(10**6000)), ("x" * 10**6, "\ud800\x1b[31m")
    for value in (*numbers, *texts, laughs, list(range(10**5)), {1: {2: {3: {4: 5}}}}):
        assert len(quoted(value)) <= 120 and quoted(value).isprintable() and quoted(value).encode()
    assert quoted(-(10**6000)).startswith("-")
