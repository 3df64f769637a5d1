"""Write what in ``docs/`` is generated: the ``--help`` text on each command's page, and the API page.

python docs/make.py            # rewrite the pages
python docs/make.py --check    # exit 1 and name the pages that would change
"""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

DOCS = Path(__file__).parent
COMMANDS = (
    "merge", "compare", "align", "check", "origin", "order", "report", "point", "convert", "rebn", "methods", "demo",
)  # fmt: skip
HELP = re.compile(r"(<!-- help (\w+) -->\n```text\n).*?(```\n)", re.DOTALL)

ROOMS = (
    "llpf_plugin", "llpf_plugin.methods", "llpf_plugin.llpf", "llpf_plugin.search", "llpf_plugin.merging",
    "llpf_plugin.tasks", "llpf_plugin.workspace", "llpf_plugin.evaluation", "llpf_plugin.quality", "llpf_plugin.order",
    "llpf_plugin.alignment", "llpf_plugin.geometry", "llpf_plugin.checkpoint", "llpf_plugin.preflight",
    "llpf_plugin.runs", "llpf_plugin.report", "llpf_plugin.records", "llpf_plugin.files", "llpf_plugin.training",
    "llpf_plugin.ranks", "llpf_plugin.errors", "llpf_flower",
)  # fmt: skip
"""Modules of the API page, in its order; a name stands where it is exported first."""


def help_of(command: str) -> str:
    """What ``llpf COMMAND --help`` prints at 100 columns, without trailing spaces."""
    words = [sys.executable, "-c", "from llpf_cli.main import run; run()", command, "--help"]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    printed = subprocess.run(words, env=environment, capture_output=True, encoding="utf-8", check=True).stdout
    return "".join(f"{line.rstrip()}\n" for line in printed.strip("\n").splitlines())


def with_help(text: str) -> str:
    """A page with the help text of its commands as it is now."""
    return HELP.sub(lambda found: f"{found[1]}{help_of(found[2])}{found[3]}", text)


def api() -> str:
    """The API page."""
    seen: set[int] = set()
    parts = [
        "# API\n\nGenerated from the docstrings by `python docs/make.py`. Everything that a package exports in "
        "`__all__` is public; names that start with an underscore, and modules inside the packages, are not.\n"
    ]
    for name in ROOMS:
        module = importlib.import_module(name)
        parts.append(f"\n## `{name}`\n\n{_text(module)}\n")
        for exported in module.__all__:
            value = getattr(module, exported)
            if inspect.isclass(value) or inspect.isfunction(value):
                if id(value) not in seen:
                    seen.add(id(value))
                    parts.append(_entry(exported, value))
            elif not inspect.ismodule(value):
                parts.append(f"\n### `{exported}`\n\nA constant or a type.\n")
    return "".join(parts)


def _entry(name: str, value: type) -> str:
    """One function or class: its signature as it is written in the source, its docstring, its public methods."""
    node = _definition(value)
    lines = [f"\n### `{name}`\n\n```python\n{_signature(node)}\n```\n\n{_text(value)}\n\n"]
    settings = [f for f in fields(value) if f.metadata.get("help")] if is_dataclass(value) else []
    lines += [f"- `{f.name} = {f.default!r}`: {f.metadata['help']}\n" for f in settings]
    for child in getattr(node, "body", ()) if isinstance(node, ast.ClassDef) else ():
        if isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            first = (ast.get_docstring(child) or "").partition("\n")[0]
            lines.append(f"- `{_signature(child).removeprefix('def ')}`: {first}\n")
    return "".join(lines)


def _definition(value: type) -> ast.FunctionDef | ast.ClassDef:
    file = inspect.getsourcefile(inspect.unwrap(value))
    assert file is not None
    for node in ast.parse(Path(file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == value.__name__:
            return node
    raise LookupError(f"{value} is not defined at the top of {file}")


def _signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        return f"class {node.name}({bases})" if bases else f"class {node.name}"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"def {node.name}({ast.unparse(node.args)}){returns}"


def _text(value: object) -> str:
    """A docstring as Markdown: its paragraphs as they are, its sections (Args, Raises, …) as preformatted text."""
    doc = inspect.cleandoc(value.__doc__ or "")
    sections = re.search(r"^(Args|Attributes|Returns|Raises|Example|Yields):$", doc, re.MULTILINE)
    words = doc[: sections.start()] if sections else doc
    rest = doc[sections.start() :] if sections else ""
    words = words.replace("``", "`").strip()
    return words + (f"\n\n```text\n{rest.strip()}\n```" if rest else "")


def pages() -> dict[Path, str]:
    """Every page that has something generated, as it should be."""
    found = {page: with_help(page.read_text(encoding="utf-8")) for page in sorted((DOCS / "commands").glob("*.md"))}
    return {**found, DOCS / "api.md": api()}


def main() -> int:
    """Rewrite the pages, or check them."""
    wrong = [p for p, text in pages().items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        for page in wrong:
            print(f"{page} is not what python docs/make.py writes")
        return 1 if wrong else 0
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
