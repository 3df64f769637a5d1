"""Who imports whom, as the architecture has it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import networkx as nx
import pytest

import llpf_plugin

ROOT = Path(llpf_plugin.__file__).parent
ADAPTERS = Path(__file__).parents[1] / "adapters"
TOOLKITS = {"typer", "rich", "flwr", "click", "matplotlib", "sklearn", "torchvision", "mergekit", "fusion_bench"}


def module_name(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def modules(root: Path) -> dict[str, Path]:
    return {module_name(file, root): file for file in sorted(root.rglob("*.py"))}


LIBRARY = modules(ROOT)
SHELLS = {name: file for folder in sorted(ADAPTERS.glob("llpf_*")) for name, file in modules(folder).items()}


def statements(node: ast.AST, everywhere: bool) -> Iterator[ast.stmt]:
    """Import statements: those that run when the module is imported, or all of them. Type checking's never count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif everywhere or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from statements(child, everywhere)


def imports(name: str, file: Path, everywhere: bool = False) -> set[tuple[str, str]]:
    """Pairs of a module and the name taken from it ('' for the module itself)."""
    found: set[tuple[str, str]] = set()
    for statement in statements(ast.parse(file.read_text(encoding="utf-8")), everywhere):
        if isinstance(statement, ast.Import):
            found |= {(alias.name, "") for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{name} imports relatively"
            for alias in statement.names:
                whole = f"{statement.module}.{alias.name}"
                found.add((whole, "") if whole in LIBRARY or whole in SHELLS else (statement.module or "", alias.name))
    return found


def arrows(everywhere: bool = False) -> "nx.DiGraph[str]":
    """The library's modules, with an arrow from each to those that it imports."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(LIBRARY)
    for name, file in LIBRARY.items():
        graph.add_edges_from((name, m) for m, _ in imports(name, file, everywhere) if m in LIBRARY and m != name)
    return graph


def reached(name: str) -> set[str]:
    return nx.descendants(arrows(), name)


def tops(name: str, everywhere: bool = False) -> set[str]:
    return {m.split(".")[0] for m, _ in imports(name, LIBRARY[name], everywhere)}


def below(package: str) -> list[str]:
    return [name for name in LIBRARY if name == package or name.startswith(package + ".")]


def test_no_circles() -> None:
    assert list(nx.simple_cycles(arrows())) == []


@pytest.mark.parametrize("name", SHELLS)
def test_adapters_import_public_names_only_and_not_each_other(name: str) -> None:
    own = name.split(".")[0]
    others = {n.split(".")[0] for n in SHELLS} - {own}
    for module, taken in imports(name, SHELLS[name], everywhere=True):
        assert module.split(".")[0] not in others, f"{name} imports {module}"
        if module.split(".")[0] == "llpf_plugin":
            assert not any(part.startswith("_") for part in [*module.split("."), taken]), f"{name}: {module}.{taken}"


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_never_imports_adapters_or_command_line_toolkits(name: str) -> None:
    shells = {n.split(".")[0] for n in SHELLS}
    assert not tops(name, everywhere=True) & (shells | {"typer", "rich", "flwr", "click"})


def test_importing_the_whole_library_brings_in_no_toolkit() -> None:
    wanted = {n for n in TOOLKITS if find_spec(n)} & {"typer", "rich", "sklearn", "torchvision", "matplotlib"}
    torch_itself = "import sys, torch, networkx, safetensors.torch, yaml, scipy; before = set(sys.modules)\n"
    code = torch_itself + "".join(f"import {name}\n" for name in LIBRARY)
    code += f"print(sorted(set({sorted(wanted)}) & (set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert wanted and done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", LIBRARY)
def test_toolkits_and_data_sets_are_imported_where_they_are_used(name: str) -> None:
    assert not tops(name) & TOOLKITS


def test_find_knows_neither_store_nor_report() -> None:
    assert not {
        m for m in reached("llpf_plugin.search.find") if m.startswith(("llpf_plugin.runs.folder", "llpf_plugin.report"))
    }
    assert "llpf_plugin.llpf.low_loss" in reached("llpf_plugin.search.find")


@pytest.mark.parametrize("name", below("llpf_plugin.order"))
def test_order_stands_on_torch_networkx_numpy_and_errors(name: str) -> None:
    allowed = {"torch", "networkx", "numpy", "llpf_plugin", *sys.stdlib_module_names}
    assert tops(name) <= allowed
    assert tops(name, everywhere=True) <= allowed | {"yaml"}
    own = {m for m, _ in imports(name, LIBRARY[name], everywhere=True) if m.startswith("llpf_plugin")}
    assert all(m == "llpf_plugin.errors" or m.startswith("llpf_plugin.order") for m in own)


def test_finders_stand_on_the_geometry_and_never_on_the_loop() -> None:
    above = {"llpf_plugin.search.find", "llpf_plugin.quality", "llpf_plugin.checkpoint", "llpf_plugin.preflight"}
    for name in below("llpf_plugin.finders"):
        assert not reached(name) & above, name


@pytest.mark.parametrize(
    "name",
    ["llpf_plugin.geometry.sphere", "llpf_plugin.geometry.moves", "llpf_plugin.geometry.weights", "llpf_plugin.errors"],
)
def test_the_geometry_stands_alone(name: str) -> None:
    assert reached(name) == set()
    assert tops(name) <= {"torch", *sys.stdlib_module_names}


def test_from_the_command_to_the_projection_in_three_hops() -> None:
    chain = ["llpf_plugin.search.find", "llpf_plugin.llpf.low_loss", "llpf_plugin.geometry.sphere"]
    hops = nx.shortest_path_length(arrows(), chain[0], chain[-1])
    assert arrows().has_edge(chain[1], chain[2]) and hops <= 3


def test_only_one_backward() -> None:
    calling = [name for name, file in LIBRARY.items() if ".backward(" in file.read_text(encoding="utf-8")]
    walking = [name for name in calling if not name.startswith("llpf_plugin.order")]
    lines = [
        line.strip()
        for name in walking
        for line in LIBRARY[name].read_text(encoding="utf-8").splitlines()
        if ".backward(" in line and "gradient.backward(" not in line
    ]
    assert lines == ["loss.backward()"]
