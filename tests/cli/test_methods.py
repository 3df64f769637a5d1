"""``llpf methods``, and methods of others: a class of a file, of a module, and of an installed package."""

import sys
from dataclasses import fields
from pathlib import Path

import pytest
from helpers.commands import llpf, merge, report
from helpers.refusals import USAGE, refused
from helpers.run_folders import bits, read

from llpf_plugin.methods import BUILT_IN, in_words, known, method_class

MINE = """
from dataclasses import dataclass

from llpf_plugin.methods import Bezier, setting


@dataclass(frozen=True)
class Mine(Bezier):
    '''A curve of mine [bent].

    More words, which the list leaves out.
    '''

    name = "mine"
    source = "my thesis, 2026"
    bend: float = setting(0.5, "how far it bends", within="[0, 1]")


class Other:
    pass


@dataclass(frozen=True)
class Needy(Bezier):
    '''Something must be said.'''

    steps: int = setting(3, "gradient steps")
    pieces: int = setting(4, "segments")

    def __post_init__(self):
        raise KeyError("thing")
"""


def words(text: str) -> str:
    """What a table in a narrow window says, in one line."""
    return " ".join(text.split())


def test_the_list_has_every_method_with_its_summary() -> None:
    text = words(llpf("methods").out)
    for name in BUILT_IN:
        summary = (method_class(name).__doc__ or "").partition("\n")[0].rstrip(".")
        assert f"{name} {summary}" in text
    assert "llpf methods NAME" in text


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_method_is_shown_with_settings_defaults_source_and_an_example(name: str) -> None:
    cls, result = method_class(name), llpf("methods", name)
    assert result.code == 0 and result.err == "", result.text
    assert result.out.startswith(f"{name}: ") and f"source: {cls.source}" in result.out
    lines = [words(line) for line in result.out.splitlines()]
    for f in fields(cls):
        within = f" ({in_words(f.metadata['within'])})" if f.metadata.get("within") else ""
        default = "" if f.default is None else f" {f.default}"
        assert f"{f.name}{default} {f.metadata['help']}{within}" in lines
    assert ("it has no settings" in lines) is (not fields(cls))


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_example_works(name: str, asked: list[object], tmp_path: Path) -> None:
    (example,) = [line for line in llpf("methods", name).out.splitlines() if line.startswith("example: ")]
    own = example.partition("digits/resnet")[2].split()
    assert own[:2] == ["--method", name]
    result = merge(*asked, *own, "--budget", 5, "-o", tmp_path / "run")
    assert result.code in (0, 3) and read(tmp_path / "run", "run")["asked"]["method"] == name, result.text


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file of methods."""
    (tmp_path / "my_methods.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SPECS = ("my_methods.py:Mine", "my_methods:Mine")


@pytest.mark.parametrize("spec", SPECS)
def test_a_method_of_the_users_is_shown(spec: str, mine: Path) -> None:
    result = llpf("methods", spec)
    assert result.code == 0, result.text
    assert f"{spec}: A curve of mine [bent]" in result.out and "source: my thesis, 2026" in result.out
    assert "bend 0.5 how far it bends (in [0, 1])" in words(result.out)
    assert f"--method {spec} -m " in result.out


@pytest.mark.usefixtures("pageless")
@pytest.mark.parametrize("spec", SPECS)
def test_a_method_of_the_users_is_used_resumed_and_reported(spec: str, mine: Path, asked: list[object]) -> None:
    line = [*asked, "--method", spec, "-m", "bend=0.25", "-m", "steps=20", "--lr", 0.1, "-o", "run"]
    result = merge(*line)
    assert result.code in (0, 3) and "20 gradient steps" in result.out, result.text
    document = read(Path("run"), "run")["asked"]
    assert document["method"] == spec and document["method_settings"]["bend"] == 0.25
    before = bits(Path("run"))
    assert merge(*line, "--resume").code == result.code and bits(Path("run")) == before
    line[line.index("bend=0.25")] = "bend=0.75"
    refused(merge(*line, "--resume"), "merge", "method_settings.bend was 0.25, is 0.75")
    assert report("run", "--trust", "--metrics", "none", "--figures", "none").code == result.code
    assert read(Path("run"), "report")["runs"][0]["method"] == spec


@pytest.mark.parametrize(
    ("spec", "message", "code"),
    [
        ("my_methods.py:Nobody", "has no 'Nobody'", 1),
        ("my_methods.py:Other", "not a method: it must be a subclass", 1),
        ("nowhere.py:Mine", "the file 'nowhere.py' does not exist", 1),
        ("my_methods.py:Needy", "KeyError: 'thing'", 1),
        ("mine", "there is no method 'mine': did you mean", USAGE),
    ],
)
def test_a_method_that_cannot_be_had(spec: str, message: str, code: int, mine: Path, asked: list[object]) -> None:
    refused(merge(*asked, "--method", spec, "-o", "run"), "merge", message, code=code)
    assert not Path("run").exists()


# ---- methods of other packages


@pytest.fixture
def package(mine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that adds two methods, one of which cannot be imported."""
    site = mine / "site"
    about = site / "their_package-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    points = ["theirs = their_package:Mine", "broken = their_package.broken:Mine", "llpf = their_package:Mine"]
    (about / "entry_points.txt").write_text("\n".join(["[llpf_plugin.methods]", *points]))
    (site / "their_package").mkdir()
    (site / "their_package" / "__init__.py").write_text(MINE)
    (site / "their_package" / "broken.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(site)
    for name in [name for name in sys.modules if name.startswith("their_package")]:
        monkeypatch.delitem(sys.modules, name)
    return site


def test_methods_of_a_package_are_listed_without_being_imported(package: Path) -> None:
    text = words(llpf("methods").out)
    assert "theirs their_package:Mine" in text and "broken their_package.broken:Mine" in text
    assert "their_package" not in sys.modules
    assert list(known()) == [*BUILT_IN, "theirs", "broken"] and known()["llpf"] == BUILT_IN["llpf"], "ours come first"


def test_a_method_of_a_package_is_shown_and_used(package: Path, asked: list[object]) -> None:
    shown = llpf("methods", "theirs")
    assert shown.code == 0 and "theirs: A curve of mine [bent]" in shown.out, shown.text
    result = merge(*asked, "--method", "theirs", "-m", "steps=5", "-o", "run")
    assert result.code in (0, 3) and read(Path("run"), "run")["asked"]["method"] == "theirs", result.text


def test_a_method_that_fails_where_it_is_imported_is_named(package: Path, asked: list[object]) -> None:
    refused(merge(*asked, "--method", "broken", "-o", "run"), "merge", "their_package.broken", "RuntimeError: imported")
