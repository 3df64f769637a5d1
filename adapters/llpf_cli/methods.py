"""``llpf methods``: which methods there are, and what each can be told."""

from dataclasses import MISSING, fields
from typing import Annotated

from cyclopts import Parameter

from llpf_cli.options import checked
from llpf_plugin.methods import BUILT_IN, Method, in_words, known, method_class

NAME = Parameter(name="NAME", help="One method: its name, file.py:Class or module:Class.")


def methods(name: Annotated[str | None, NAME] = None, /) -> int:
    """List the methods that find a path, or show one with its settings, defaults and source."""
    from rich.markup import escape
    from rich.table import Table

    from llpf_cli.terminal import terminal

    console = terminal()
    if name is None:
        table = Table.grid(padding=(0, 3))
        for spec, place in known().items():  # those of other packages are not imported to be listed
            table.add_row(f"[bold]{spec}[/]", escape(_summary(method_class(spec)) if spec in BUILT_IN else place))
        console.print(table)
        console.print("\nllpf methods NAME shows the settings of one; your own is file.py:Class.", highlight=False)
        return 0
    with checked():
        found = method_class(name)
    _show(console, name, found)
    return 0


def _summary(method: type[Method]) -> str:
    return (method.__doc__ or "").partition("\n")[0].rstrip(".")


def _show(console: "Console", name: str, method: type[Method]) -> None:  # type: ignore[name-defined]  # noqa: F821
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console.print(f"[bold]{escape(name)}[/]: {escape(_summary(method))}", highlight=False)
    console.print(f"source: {escape(method.source or 'not stated')}\n", highlight=False)
    table = Table("setting", "default", "what it does", box=box.SIMPLE_HEAD)
    for f in fields(method):
        within = f" ({in_words(f.metadata['within'])})" if f.metadata.get("within") else ""
        default = "needed" if f.default is MISSING else "" if f.default is None else str(f.default)
        table.add_row(f.name, default, escape(f.metadata.get("help", "") + within))
    if fields(method):
        console.print(table)
    else:
        console.print("it has no settings")
    example = next((f"-m {f.name}={f.default}" for f in fields(method) if isinstance(f.default, int | float)), "")
    line = f"llpf merge a.pt b.pt --task digits/resnet --method {name} {example}".rstrip()
    console.print(f"example: {line}", highlight=False, markup=False)
