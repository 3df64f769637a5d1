"""Methods by name: ours, those of other packages, a user's own, and what is said where there is none."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from helpers.methods import Ladder

from llpf_plugin import LLPF, Linear, LLPFError, SphereCurve
from llpf_plugin.errors import SpecificationError
from llpf_plugin.methods import known, make_method, method_class, registry
from llpf_plugin.tasks import packages

OWN = '''
from dataclasses import dataclass
from typing import ClassVar
from llpf_plugin import Method

@dataclass(frozen=True)
class Straight(Method):
    """A method in a file."""
    name: ClassVar[str] = "straight"
    source: ClassVar[str] = "a test"
    binds_with: ClassVar[str] = "llpf_plugin.methods.segment:plan"
    pieces: int = 3

class NoMethod:
    pass

def function():
    pass
'''


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package brings a method, and one under the name of ours."""
    found = [
        EntryPoint("ladder", "helpers.methods:Ladder", registry.GROUP),
        EntryPoint("llpf", "helpers.methods:Ladder", registry.GROUP),
    ]
    monkeypatch.setattr(packages, "entry_points", lambda group: found if group == registry.GROUP else [])


def test_ours_come_first_in_the_order_in_which_they_are_compared() -> None:
    assert list(known())[:7] == ["llpf", "sphere-curve", "bezier", "autoneb", "learned-matching", "linear", "finetune"]
    assert method_class("sphere-curve") is SphereCurve and make_method("linear") == Linear()


def test_methods_of_other_packages_come_after_ours_and_replace_none(others: None) -> None:
    assert list(known())[7:] == ["ladder"]
    assert method_class("ladder") is Ladder and make_method("ladder", {"rungs": 2}) == Ladder(rungs=2)
    assert method_class("llpf") is LLPF


def test_listing_imports_nothing_that_is_named() -> None:
    code = (
        "import sys; from llpf_plugin.methods.registry import known; names = known()\n"
        "print('llpf_plugin.llpf.method' in sys.modules, 'llpf' in names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("spec", ["file", "module"])
def test_a_users_own_from_a_file_or_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    (tmp_path / "llpf_own_straight.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    place = str(tmp_path / "llpf_own_straight.py") if spec == "file" else "llpf_own_straight"
    method = make_method(f"{place}:Straight", {"pieces": 5})
    assert (method.name, method.settings()) == ("straight", {"pieces": 5})
    with pytest.raises(LLPFError, match=r"has no setting 'piece': did you mean pieces\?"):
        make_method(f"{place}:Straight", {"piece": 5})
    with pytest.raises(LLPFError, match="straight: pieces = 'many': it must be int"):
        make_method(f"{place}:Straight", {"pieces": "many"})


@pytest.mark.parametrize("name", ["NoMethod", "function"])
def test_what_is_no_method_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(
        SpecificationError, match=r"is not a method: it must be a subclass of llpf_plugin\.methods\.Method"
    ):
        method_class(f"{tmp_path / 'own.py'}:{name}")


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(
        LLPFError, match=r"no method 'sphere-curv': did you mean sphere-curve\? Your own: file\.py:Class"
    ):
        method_class("sphere-curv")
    with pytest.raises(
        LLPFError, match=r"no method 'qqq': did you mean autoneb, bezier, finetune, learned-matching, linear, llpf"
    ):
        make_method("qqq")


def test_an_unknown_setting_is_told_the_nearest() -> None:
    with pytest.raises(LLPFError, match=r"the method 'llpf' has no setting 'phase': did you mean phases"):
        make_method("llpf", {"phase": "all"})
    with pytest.raises(LLPFError, match=r"the method 'llpf' has no setting 'max_loss'"):
        make_method("llpf", {"max_loss": 0.1})
    with pytest.raises(LLPFError, match=r"the method 'linear' has no setting 'steps': did you mean repair\?$"):
        make_method("linear", {"steps": 10})


def test_a_file_that_fails_says_where(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(SpecificationError, match=r"ModuleNotFoundError: .*own\.py, line 1"):
        make_method(f"{tmp_path / 'own.py'}:Straight")


def test_a_method_is_itself_whatever_else_is_said() -> None:
    method = LLPF(share=0.2)
    assert make_method(method) is method
