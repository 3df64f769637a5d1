"""``module:name``, ``file.py:name`` and ``key=value``: what they mean, and what is said where they mean nothing."""

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin.errors import SpecificationError, TaskError
from llpf_plugin.tasks.specification import build, explained, find, nearest, parse_arguments, parse_value


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


# Objects --------------------------------------------------------------------------------------------------------------


def test_a_module_and_a_file_name_an_object(tmp_path: Path) -> None:
    assert find("math:pi") == 3.141592653589793
    assert find("llpf_plugin.tasks.specification:find") is find
    assert find(f"{write(tmp_path, 'answer = 42')}:answer") == 42


def test_modules_of_the_current_folder_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "answer = 42", "llpf_spec_here.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    assert find("llpf_spec_here:answer") == 42
    assert str(tmp_path) not in sys.path


def test_a_file_may_import_its_neighbours_while_it_is_imported_and_while_it_builds(tmp_path: Path) -> None:
    write(tmp_path, "value = 7", "llpf_spec_neighbour.py")
    write(tmp_path, "value = 8", "llpf_spec_late.py")
    place = write(
        tmp_path,
        "from llpf_spec_neighbour import value\ndef late():\n    import llpf_spec_late as m\n    return m.value",
    )
    before = list(sys.path)
    assert find(f"{place}:value") == 7
    assert build(f"{place}:late", find(f"{place}:late"), {}) == 8
    assert sys.path == before


def test_two_files_of_one_name_are_two(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = write(tmp_path, "x = 1"), write(tmp_path / "other", "x = 2")
    assert [find(f"{place}:x") for place in (one, other, one)] == [1, 2, 1]


@pytest.mark.parametrize("spec", ["noname", ":name", "module:", ":", ""])
def test_what_names_no_object_says_the_form(spec: str) -> None:
    with pytest.raises(SpecificationError, match=r"does not name an object: write module:name or file\.py:name"):
        find(spec)


def test_missing_files_modules_and_names(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match=r"the file 'nowhere\.py' does not exist"):
        find("nowhere.py:x")
    with pytest.raises(SpecificationError, match=r"importing 'no_such_module' failed: ModuleNotFoundError: .*no_such"):
        find("no_such_module:x")
    place = write(tmp_path, "def resnet(): ...\ndef _resnet(): ...\nresnets = 3\n")
    with pytest.raises(SpecificationError, match=r"mine\.py' has no 'resnat': did you mean resnet\?$"):
        find(f"{place}:resnat")


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("x = 1\nraise RuntimeError('no disk')\n", 2, "RuntimeError: no disk"),
        ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError"),
        ("x = 1\nclass A(:\n", 2, "SyntaxError"),
    ],
)
def test_code_that_raises_while_it_is_imported(tmp_path: Path, text: str, line: int, cause: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        find(f"{write(tmp_path, text)}:x")
    assert cause in str(caught.value) and f"mine.py, line {line}" in str(caught.value)


def test_foreign_errors_become_one_line_and_ours_pass() -> None:
    with (
        pytest.raises(SpecificationError, match=r"^counting failed: ValueError: two lines") as caught,
        explained("counting"),
    ):
        raise ValueError("two\n   lines" + "x" * 10_000)
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
    with pytest.raises(TaskError, match=r"^ours$"), explained("counting"):
        raise TaskError("ours")
    with pytest.raises(KeyboardInterrupt), explained("counting"):
        raise KeyboardInterrupt


def test_arguments_are_checked_before_a_function_is_called(tmp_path: Path) -> None:
    called = []

    def one(width: int = 3, **more: Any) -> None:
        called.append(more)

    def other(width: int = 3, depth: int = 2) -> None:
        called.append(width)

    build("m:one", one, {"whatever": 1})
    with pytest.raises(SpecificationError, match=r"^'m:other' takes no argument 'dept': did you mean depth\?$"):
        build("m:other", other, {"dept": 1})
    assert called == [{"whatever": 1}]


# Values ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-3", -3), ("1e-3", 0.001), ("0.5", 0.5), ("true", True), ("False", False),
        ("none", None), ("None", None),
        ("[1, 2]", [1, 2]), ("(1, 'a')", (1, "a")), ("'3'", "3"), ("stage", "stage"), ("", ""), ("a=b", "a=b"),
        ("1e", "1e"), ("[1,", "[1,"), ("__import__('os')", "__import__('os')"), ("inf", "inf"),
        ("/data/x y", "/data/x y"),
        ("(" * 5000, "(" * 5000),
    ],
)  # fmt: skip
def test_values(text: str, value: Any) -> None:
    got = parse_value(text)
    assert got == value and type(got) is type(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_python_writes_is_read_back(value: Any) -> None:
    assert parse_value(repr(value)) == value == ast.literal_eval(repr(value))


def test_arguments() -> None:
    assert parse_arguments(["width=12", "path=a=b", "flag=true", "name="]) == {
        "width": 12, "path": "a=b", "flag": True, "name": "",
    }  # fmt: skip
    assert parse_arguments([]) == {} and parse_arguments(["x=1", "x=2"]) == {"x": 2}


@pytest.mark.parametrize("pair", ["width", "=3", "a b=3", "3=a", "", "a-b=1"])
def test_what_is_no_argument_is_named(pair: str) -> None:
    with pytest.raises(SpecificationError, match=f"^'{pair}' is not of the form key=value$"):
        parse_arguments([pair])


# The nearest names ----------------------------------------------------------------------------------------------------


def test_the_nearest_names_or_all_of_them() -> None:
    known = ["sphere-curve", "bezier", "autoneb", "linear"]
    assert nearest("spere-curve", known) == ": did you mean sphere-curve?"
    assert nearest("zzz", known) == ": did you mean autoneb, bezier, linear, sphere-curve?"
    assert nearest("x", []) == ""
