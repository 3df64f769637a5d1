"""``llpf order``: in what order data reaches the layers of a model."""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from llpf_cli.coupled import show_groups, show_unused
from llpf_cli.inputs import INPUTS, SPECIFICATIONS, InputOptions, unknown_inputs
from llpf_cli.options import TRUST, option, pairs
from llpf_plugin.documents import visible
from llpf_plugin.errors import OrderError, UsageError
from llpf_plugin.tasks.hugging_face import trusting

SHOWN = Group("Output", sort_key=2)

Format = Literal["table", "tree", "json", "mermaid", "dot", "graphml"]
Level = Literal["phase", "layer"]

KINDS: dict[str, Format] = {".json": "json", ".mmd": "mermaid", ".dot": "dot", ".graphml": "graphml", ".txt": "table"}
"""What a file of each suffix holds; ``.svg`` is the picture."""

MODEL = Parameter(name="MODEL", help=f"{SPECIFICATIONS}, x.json.")
ARGUMENTS = Parameter(name="key=value …", help="For the function or the task; also as -t key=value.")
UNUSED = "Only name the parameters that get no gradient with any loss; exit 3 if there are some."
GROUPS = "Only print which units belong together (for pruning): table, or -f json."
TASK_ARGS = option(
    "The same, as other commands have it.", "-t", "--task-arg", group=INPUTS, negative="", consume_multiple=False
)


def order(
    model: Annotated[str, MODEL],
    /,
    *arguments: Annotated[str, ARGUMENTS],
    task_args: Annotated[list[str], TASK_ARGS] = [],  # noqa: B006 - read only
    trust: Annotated[bool, option(TRUST, group=INPUTS, negative="")] = False,
    inputs: InputOptions = InputOptions(),
    no_inputs: Annotated[
        bool, option("Read the code without running it (not verified).", group=INPUTS, negative="")
    ] = False,
    device: Annotated[str | None, option("Where to build the model; meta needs no memory [cpu].", group=INPUTS)] = None,
    order: Annotated[
        Literal["fdf", "levels"],
        option("Execution order (fdf), or by distance from the input (levels) [fdf].", group=SHOWN),
    ] = "fdf",
    phases: Annotated[
        str, option("all, layer, block, stage, a number, or a YAML file [stage].", group=SHOWN)
    ] = "stage",
    format: Annotated[
        Format, option("table, tree, json, mermaid, dot, graphml [table].", "-f", "--format", group=SHOWN)
    ] = "table",
    level: Annotated[Level | None, option("Nodes of graphs and rows of pictures: phase, layer.", group=SHOWN)] = None,
    depth: Annotated[int | None, option("Levels of the tree [all].", group=SHOWN)] = None,
    unused: Annotated[bool, option(UNUSED, group=SHOWN, negative="")] = False,
    groups: Annotated[bool, option(GROUPS, group=SHOWN, negative="")] = False,
    output: Annotated[
        list[Path],
        option(
            "Write a file: .json .svg .mmd .dot .graphml .txt; repeat for more.",
            "-o",
            "--output",
            group=SHOWN,
            negative="",
            consume_multiple=False,
        ),
    ] = [],  # noqa: B006 - read only
) -> int:
    """Show in what order data reaches the layers of a model: layers, parallel branches, phases."""
    for path in output:
        _check_output(path)
    if inputs.given + no_inputs > 1:
        raise UsageError("give one of --input, --inputs and --no-inputs")
    asked = "unused" if unused else "groups" if groups else None
    if asked and (no_inputs or output or model.endswith(".json") or (unused and groups)):
        raise UsageError(f"--{asked} runs the model and prints: it goes without --no-inputs, -o, and files of orders")
    given = pairs([*arguments, *task_args])
    from llpf_plugin.order import LayerOrder, layer_order
    from llpf_plugin.order import phases as cut_phases

    if model.endswith(".json"):
        found = LayerOrder.from_json(_read(Path(model)))
    else:
        with trusting(trust):
            network, example = inputs.load(model, given, device)
        if example is None and not no_inputs:
            raise unknown_inputs(model, ", or read the code without running it with --no-inputs")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what libraries say while a model runs
            if asked:
                return show_unused(network, example) if unused else show_groups(network, example, format == "json")
            found = layer_order(network, None if no_inputs else example, order=order)
    cut = cut_phases(found, phases)
    for path in output:
        _write(path, found, cut, level)
        print(f"written: {path}")
    if not output:
        _show(found, cut, format, level, depth)
    return 0


def _show(order: Any, phases: Any, kind: Format, level: Level | None, depth: int | None) -> None:
    if kind == "table" and sys.stdout.isatty():
        _rich_table(order, phases)
    else:
        print(visible(_text(order, phases, kind, level, depth)))


def _text(order: Any, phases: Any, kind: Format, level: Level | None, depth: int | None) -> str:
    from llpf_plugin.order import graphml, render

    if kind == "tree":
        return render.tree(order, depth)
    if kind == "json":
        text: str = order.to_json(phases)
        return text
    if kind == "graphml":
        return graphml(order, phases)
    if kind in ("mermaid", "dot"):
        return getattr(render, kind)(order, phases, level or "phase")
    return render.table(order, phases)


def _rich_table(order: Any, phases: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    from llpf_cli.terminal import terminal
    from llpf_plugin.order import render

    table = Table(header_style="bold", box=None, pad_edge=False)
    for i, title in enumerate(render.HEADER):
        table.add_column(title, justify="right" if i in (0, 1, 4) else "left", overflow="fold")
    rows = render.rows(order, phases)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        table.add_row(*map(escape, row), end_section=following is not None and following[1] != row[1])
    console = terminal()
    console.print(table)
    console.print(f"\n{escape(render.summary(order))}", highlight=False)
    for warning in order.warnings:
        console.print(f"[yellow]! {escape(warning)}[/]", highlight=False)


def _check_output(path: Path) -> None:
    """Refuse before any work what could not be written after it.

    Raises:
        UsageError: an unknown suffix, or a folder that does not exist.
    """
    if path.suffix not in (*KINDS, ".svg"):
        hint = "; write .svg and convert it" if path.suffix in (".png", ".pdf", ".jpg") else ""
        raise UsageError(f"{path}: unknown kind of file, choose {', '.join([*KINDS, '.svg'])}{hint}")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")


def _write(path: Path, order: Any, phases: Any, level: Level | None) -> None:
    from llpf_plugin.files import write_text
    from llpf_plugin.order import picture
    from llpf_plugin.runs import held_file

    if path.suffix == ".svg":
        text = picture.svg(picture.draw(order, phases, level or "layer"))
    else:
        text = _text(order, phases, KINDS[path.suffix], level, None) + "\n"
    with held_file(path):
        write_text(path, text)


def _read(path: Path) -> str:
    from llpf_plugin.documents import read_content

    try:
        return read_content(path, OrderError).decode()
    except UnicodeDecodeError as error:
        raise OrderError(f"{path} cannot be read: {error}") from error
