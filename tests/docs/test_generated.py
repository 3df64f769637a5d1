"""What in ``docs/`` is generated is what the code says; links lead somewhere."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_make", ROOT / "docs" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_a_page_with_its_help(make: ModuleType) -> None:
    for command in make.COMMANDS:
        page = (ROOT / "docs" / "commands" / f"{command}.md").read_text(encoding="utf-8")
        assert f"<!-- help {command} -->" in page and make.help_of(command) in page, "run python docs/make.py"


def test_the_api_page_is_that_of_the_docstrings(make: ModuleType) -> None:
    pytest.importorskip("flwr", reason="flwr is not installed, whose adapter the page has too")
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == make.api(), "run python docs/make.py"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not link.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
