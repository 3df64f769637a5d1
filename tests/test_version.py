"""Toolkits that are missing or of a version that their adapter was not written for."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from helpers.commands import process

import llpf_fusion_bench
import llpf_mergekit
from llpf_plugin.errors import SpecificationError
from llpf_plugin.version import check_version


@pytest.mark.parametrize("found", ["0.1.5", "0.1.5.post1", "0.1.99", "0.1.6.dev0+local"])
def test_a_version_in_the_range_is_taken(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: found)
    check_version("mergekit", ">=0.1.5,<0.2", "mergekit")


@pytest.mark.parametrize("found", ["0.1.4", "0.2.0", "1.0"])
def test_another_version_is_refused_with_what_to_install(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: found)
    message = (
        rf"mergekit {found} is not one of the versions >=0\.1\.5,<0\.2 that .*: pip install 'llpf-plugin\[mergekit\]'"
    )
    with pytest.raises(SpecificationError, match=message):
        check_version("mergekit", ">=0.1.5,<0.2", "mergekit")
    with pytest.raises(SpecificationError, match=f"fusion-bench {found} is not one of"):
        llpf_fusion_bench.LLPFAlgorithm  # noqa: B018
    with pytest.raises(SpecificationError, match=f"mergekit {found} is not one of"):
        llpf_mergekit.register()


def test_a_toolkit_that_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(SpecificationError, match=r"no-such-kit is not installed: pip install 'llpf-plugin\[flower\]'"):
        check_version("no-such-kit", ">=1", "flower")


def test_the_ranges_are_those_of_the_extras() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    assert f"mergekit{llpf_mergekit.VERSIONS}" in extras["mergekit"]
    assert f"fusion-bench{llpf_fusion_bench.VERSIONS}" in extras["fusion-bench"]


def test_the_command_without_its_toolkit_ends_in_one_sentence(tmp_path: Path) -> None:
    code = "from importlib import metadata\ndef version(name): raise metadata.PackageNotFoundError(name)\n"
    code += "metadata.version = version\nimport sys\nsys.argv = ['llpf-mergekit-yaml', 'a.yml', 'out']\n"
    (tmp_path / "without.py").write_text(code + "from llpf_mergekit.command import run\nrun()\n")
    result = process(tmp_path / "without.py", cwd=tmp_path)
    assert result.code == 1 and not (tmp_path / "out").exists()
    assert result.err == "llpf-mergekit-yaml: mergekit is not installed: pip install 'llpf-plugin[mergekit]'\n"
