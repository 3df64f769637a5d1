"""Who imports whom, as the architecture has it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import networkx as nx
import pytest

import llpf_plugin

ROOT = Path(llpf_plugin.__file__).parent
ADAPTERS = Path(__file__).parents[1] / "adapters"
TOOLKITS = {"cyclopts", "rich", "flwr", "click", "matplotlib", "sklearn", "torchvision", "mergekit", "fusion_bench"}


def module_name(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def modules(root: Path) -> dict[str, Path]:
    return {module_name(file, root): file for file in sorted(root.rglob("*.py"))}


LIBRARY = modules(ROOT)
SHELLS = {name: file for folder in sorted(ADAPTERS.glob("llpf_*")) for name, file in modules(folder).items()}


LOOSE = {name for name in LIBRARY if name.count(".") == 1 and LIBRARY[name].name != "__init__.py"}
ROOMS = [
    {"errors", "lazy", "version"},
    {"documents", "ranks"},
    {"records", "files", "order"},
    {"geometry", "checkpoint"},
    {"tasks"},
    {"clock", "alignment"},
    {"workspace"},
    {"evaluation", "preflight", "training"},
    {"methods", "llpf"},
    {"quality", "search", "runs"},
    {"merging", "report"},
]
"""From the foundations up: a file imports from its own floor and from those below."""


def statements(node: ast.AST, everywhere: bool) -> Iterator[ast.stmt]:
    """Import statements: those that run when the module is imported, or all of them, type checking's too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test) and not everywhere:
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


def test_no_circles_even_of_types() -> None:
    assert list(nx.simple_cycles(arrows())) == []
    assert nx.is_directed_acyclic_graph(defining())


def defining() -> "nx.DiGraph[str]":
    """All imports, those of types and in functions too, with an arrow to the file that defines what is taken."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, file in LIBRARY.items():
        if file.name == "__init__.py":
            continue
        for module, taken in imports(name, file, everywhere=True):
            if module in LIBRARY and (there := _defined_in(module, taken)) != name:
                graph.add_edge(name, there)
    return graph


def _defined_in(module: str, taken: str) -> str:
    """The file that defines what a package's ``__init__`` exports."""
    if not taken or LIBRARY[module].name != "__init__.py":
        return module
    for place, name in imports(module, LIBRARY[module], everywhere=True):
        if name == taken and place in LIBRARY:
            return _defined_in(place, name)
        if not name and place.endswith(f".{taken}"):
            return place
    return module


def test_no_chain_of_imports_is_longer_than_twelve_files() -> None:
    chain = nx.dag_longest_path(nx.DiGraph(defining()))
    assert len(chain) <= 12, " → ".join(chain)


@pytest.mark.parametrize("name", [n for n, f in LIBRARY.items() if f.name == "__init__.py"])
def test_every_package_can_be_imported_first(name: str) -> None:
    """What one file imports may lead through another package's ``__init__`` back to the first."""
    done = subprocess.run([sys.executable, "-c", f"from {name} import *"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_few_modules_stand_outside_of_the_rooms() -> None:
    assert len(LOOSE) <= 8, sorted(LOOSE)


@pytest.mark.parametrize("name", [n for n in LIBRARY if n != "llpf_plugin"])
def test_a_file_imports_from_its_own_floor_and_below(name: str) -> None:
    floor = {room: i for i, rooms in enumerate(ROOMS) for room in rooms}
    own = floor[name.split(".")[1]]
    for module, _ in imports(name, LIBRARY[name], everywhere=True):
        if module.startswith("llpf_plugin."):
            assert floor[module.split(".")[1]] <= own, f"{name} imports {module}"


@pytest.mark.parametrize("name", SHELLS)
def test_adapters_import_exported_names_only_and_not_each_other(name: str) -> None:
    own = name.split(".")[0]
    others = {n.split(".")[0] for n in SHELLS} - {own}
    for module, taken in imports(name, SHELLS[name], everywhere=True):
        assert module.split(".")[0] not in others, f"{name} imports {module}"
        if module.split(".")[0] == "llpf_plugin":
            place, _, last = module.rpartition(".") if not taken else (module, ".", taken)
            assert place in {"llpf_plugin", *LOOSE} or LIBRARY[place].name == "__init__.py", f"{name}: {module}"
            assert last in import_module(place).__all__, f"{name}: {place} does not export {last}"


@pytest.mark.parametrize("name", [n for n, f in LIBRARY.items() if f.name == "__init__.py" or n in LOOSE])
def test_every_exported_name_is_there(name: str) -> None:
    module = import_module(name)
    for exported in getattr(module, "__all__", ()):
        assert getattr(module, exported) is not None, f"{name}.{exported}"


@pytest.mark.parametrize(
    "name", [n for n, f in LIBRARY.items() if f.name == "__init__.py" and "lazily" in f.read_text()]
)
def test_names_that_are_imported_when_they_are_asked_for_are_not_those_of_files(name: str) -> None:
    """A file that is imported becomes an attribute of its package, and would stand in place of what it defines."""
    assert not {f"{name}.{exported}" for exported in import_module(name).__all__} & LIBRARY.keys()


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_never_imports_adapters_or_command_line_toolkits(name: str) -> None:
    shells = {n.split(".")[0] for n in SHELLS}
    assert not tops(name, everywhere=True) & (shells | {"cyclopts", "typer", "rich", "flwr", "click"})


def test_importing_the_whole_library_brings_in_no_toolkit() -> None:
    wanted = {n for n in TOOLKITS if find_spec(n)} & {"cyclopts", "rich", "sklearn", "torchvision", "matplotlib"}
    torch_itself = "import sys, torch, networkx, safetensors.torch, yaml, scipy; before = set(sys.modules)\n"
    code = torch_itself + "".join(f"import {name}\n" for name in LIBRARY)
    code += f"print(sorted(set({sorted(wanted)}) & (set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert wanted and done.stdout.strip() == "[]"


TORCH_FREE = (
    "llpf_plugin", "llpf_plugin.methods", "llpf_plugin.methods.registry", "llpf_plugin.llpf.method",
    "llpf_plugin.ranks",
)  # fmt: skip


@pytest.mark.parametrize("name", [*TORCH_FREE, "llpf_plugin.tasks", "llpf_plugin.records", "llpf_plugin.errors"])
def test_what_is_listed_before_any_work_imports_no_torch(name: str) -> None:
    code = f"import sys, {name}; print(sorted({{'torch', 'numpy', 'scipy', 'networkx'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", LIBRARY)
def test_toolkits_and_data_sets_are_imported_where_they_are_used(name: str) -> None:
    assert not tops(name) & TOOLKITS


def test_the_loop_knows_no_method() -> None:
    """A method is found by its name or passed in; the loop only runs its plan."""
    solvers = {"segment", "curve", "autoneb", "finetune"}
    own = {m for m, _ in imports("llpf_plugin.search.find", LIBRARY["llpf_plugin.search.find"], everywhere=True)}
    assert not {m for m in own if m.startswith(("llpf_plugin.llpf", "llpf_plugin.runs", "llpf_plugin.report"))}
    assert not {m for m in own if m.split(".")[-1] in solvers}


@pytest.mark.parametrize("name", below("llpf_plugin.order"))
def test_order_stands_on_torch_networkx_numpy_errors_and_documents(name: str) -> None:
    allowed = {"torch", "networkx", "numpy", "llpf_plugin", *sys.stdlib_module_names}
    assert tops(name) <= allowed
    assert tops(name, everywhere=True) <= allowed
    own = {m for m, _ in imports(name, LIBRARY[name], everywhere=True) if m.startswith("llpf_plugin")}
    assert all(m.split(".")[1] in ("errors", "documents", "order") for m in own)


@pytest.mark.parametrize("name", ["sphere", "moves", "weights", "placement"])
def test_the_geometry_stands_alone(name: str) -> None:
    assert reached(f"llpf_plugin.geometry.{name}") <= {"llpf_plugin.geometry.placement"}
    assert tops(f"llpf_plugin.geometry.{name}") <= {"torch", "llpf_plugin", *sys.stdlib_module_names}


def test_the_walk_is_read_in_ten_minutes() -> None:
    """Direction, step control and the walk itself, and beside them the paper's algorithms."""
    lines = {n: len(LIBRARY[f"llpf_plugin.llpf.{n}"].read_text().splitlines()) for n in (*WALK, "reference")}
    assert sum(lines[n] for n in WALK) <= 400 and lines["reference"] <= 80, lines
    assert {"torch", "collections"} >= tops("llpf_plugin.llpf.reference")


WALK = ("walk", "directions", "step_control")


def test_only_one_backward() -> None:
    """Others ask the workspace, which counts; the trace of orders looks at gradients of its own."""
    calls = [
        node
        for name, file in LIBRARY.items()
        if not name.startswith("llpf_plugin.order")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward"
    ]
    own = [ast.unparse(c.func) for c in calls if "workspace.backward" not in ast.unparse(c.func)]
    assert sorted(own) == ["loss.backward", "torch.autograd.backward"]  # the second takes the first's gradients on
