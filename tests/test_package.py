"""What ``import llpf_plugin`` gives, and what it costs."""

import subprocess
import sys

import pytest

import llpf_plugin
from llpf_plugin import llpf, tasks
from llpf_plugin.lazy import lazily


@pytest.mark.parametrize("package", [llpf_plugin, llpf, tasks], ids=lambda p: p.__name__)
def test_every_name_that_is_promised_is_there(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(package, name) is not None


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    for package in (llpf_plugin, llpf, tasks):
        with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Settings'"):
            package.Settings  # noqa: B018
    with pytest.raises(ImportError, match="Settings"):
        from llpf_plugin import Settings  # type: ignore[attr-defined]  # noqa: F401


def test_importing_the_package_costs_no_torch() -> None:
    code = (
        "import sys, llpf_plugin; from llpf_plugin import LLPF, SphereCurve, LLPFError, Method\n"
        "from llpf_plugin.tasks import parse_arguments, find, BUILT_IN\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_names_are_imported_when_they_are_asked_for() -> None:
    load = lazily("json", {"JSONDecoder": "decoder", "loads": "nowhere"})
    import json

    assert load("JSONDecoder") is json.JSONDecoder
    with pytest.raises(AttributeError, match="module 'json' has no attribute 'dumps'"):
        load("dumps")
    with pytest.raises(ModuleNotFoundError):
        load("loads")


def test_a_source_tree_that_was_never_installed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from llpf_plugin.version import written_by

    assert written_by() == f"llpf-plugin {metadata.version('llpf-plugin')}"

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert written_by() == "llpf-plugin, version unknown"
