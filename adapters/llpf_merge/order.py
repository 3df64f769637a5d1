"""`llpf-order`: show in which order data meet the layers of a model."""

from __future__ import annotations

import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from llpf_merge.models import call_factory, explained, load_model, parse_arguments, parse_inputs
from llpf_plugin import LLPFError, layer_order
from llpf_plugin.errors import OrderError
from llpf_plugin.order import LayerOrder, Phase, picture, render
from llpf_plugin.order import phases as cut_phases

FAILED = 2


class Format(StrEnum):
    """What can be printed."""

    table = "table"
    tree = "tree"
    json = "json"
    mermaid = "mermaid"
    dot = "dot"


class Level(StrEnum):
    """What a node of a graph or a row of a picture is."""

    phase = "phase"
    layer = "layer"


class Order(StrEnum):
    """Which order is derived."""

    fdf = "fdf"
    levels = "levels"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[
        str,
        typer.Argument(
            help="module:function, file.py:function, torchvision:NAME, timm:NAME, hf:CONFIG_OR_FOLDER, x.json"
        ),
    ],
    arguments: Annotated[list[str] | None, typer.Argument(help="key=value, given to the function")] = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", help="Shape of an input: 1x3x224x224, 1x8:int64, name=1x8:int64. Repeat for more."
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Type of inputs that name none.")] = "float32",
    inputs: Annotated[
        str | None, typer.Option(help="module:function or file.py:function that makes the inputs.")
    ] = None,
    no_inputs: Annotated[
        bool, typer.Option("--no-inputs", help="Read the code without running it (not verified).")
    ] = False,
    device: Annotated[str | None, typer.Option(help="Where to build the model; meta needs no memory.")] = None,
    order: Annotated[Order, typer.Option(help="Execution order (fdf), or by distance from the input.")] = Order.fdf,
    phases: Annotated[str, typer.Option(help="all, layer, block, stage, a number, or a YAML file.")] = "stage",
    format_: Annotated[Format, typer.Option("--format", "-f", help="What to print.")] = Format.table,
    level: Annotated[Level | None, typer.Option(help="Nodes of graphs, rows of pictures.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="Levels of the tree.")] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option("--output", "-o", help="Write a file: .json .svg .mmd .dot .txt. Repeat for more."),
    ] = None,
) -> None:
    """Show in which order data meet the layers of a model: layers, parallel branches, phases."""
    for path in output or []:
        _check_output(path)
    if model.endswith(".json"):
        found = LayerOrder.from_json(_read(Path(model)))
    else:
        given = parse_arguments(arguments or [])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what libraries say while they build a model
            network, example = load_model(model, given, device)
            example = _inputs(model, example, shapes or [], dtype, inputs, no_inputs)
            found = layer_order(network, example, order=order.value)
    cut = cut_phases(found, phases)
    for path in output or []:
        _write(path, found, cut, level)
    if not output:
        _show(found, cut, format_, level, depth)


def run() -> None:
    """Run the command; whatever is the user's to repair is one message and an exit code."""
    try:
        app()
    except LLPFError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {_plain(str(error))}", highlight=False)
        sys.exit(FAILED)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _inputs(spec: str, known: Any, shapes: list[str], dtype: str, factory: str | None, no_inputs: bool) -> Any:
    """Choose the example inputs: those given by the user, else those known for the model."""
    if sum((bool(shapes), factory is not None, no_inputs)) > 1:
        raise OrderError("Give one of --input, --inputs and --no-inputs.")
    if no_inputs:
        return None
    if factory is not None:
        return call_factory(factory)
    if shapes:
        return parse_inputs(shapes, dtype)
    if known is None:
        raise OrderError(
            f"No inputs are known for {spec}. Give --input 1x3x224x224, --inputs file.py:function, return "
            "(model, inputs) from the function, or read the code without running it with --no-inputs."
        )
    return known


def _show(order: LayerOrder, phases: tuple[Phase, ...], kind: Format, level: Level | None, depth: int | None) -> None:
    if kind is Format.table and sys.stdout.isatty():
        _rich_table(order, phases)
    else:
        print(_text(order, phases, kind, level, depth))


def _text(order: LayerOrder, phases: tuple[Phase, ...], kind: Format, level: Level | None, depth: int | None) -> str:
    nodes: render.Level = (level or Level.phase).value
    if kind is Format.tree:
        return render.tree(order, depth)
    if kind is Format.json:
        return order.to_json(phases)
    if kind is Format.mermaid:
        return render.mermaid(order, phases, nodes)
    if kind is Format.dot:
        return render.dot(order, phases, nodes)
    return render.table(order, phases)


def _rich_table(order: LayerOrder, phases: tuple[Phase, ...]) -> None:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for i, title in enumerate(render.HEADER):
        table.add_column(title, justify="right" if i in (0, 1, 4) else "left", overflow="fold")
    rows = render.rows(order, phases)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        table.add_row(*map(_plain, row), end_section=following is not None and following[1] != row[1])
    console = Console()
    console.print(table)
    console.print(f"\n{_plain(render.summary(order))}", highlight=False)
    for warning in order.warnings:
        console.print(f"[yellow]! {_plain(warning)}[/]", highlight=False)


_KINDS = {".json": Format.json, ".mmd": Format.mermaid, ".dot": Format.dot, ".txt": Format.table}


def _check_output(path: Path) -> None:
    """Refuse before any work what could not be written after it."""
    if path.suffix == ".png":
        raise OrderError(f"{path}: the picture of an order is an SVG file, so write {path.with_suffix('.svg')}")
    if path.suffix not in (*_KINDS, ".svg"):
        raise OrderError(f"{path}: unknown kind of file. Choose {', '.join([*_KINDS, '.svg'])}.")
    if not path.parent.is_dir():
        raise OrderError(f"{path}: there is no folder {path.parent}.")


def _write(path: Path, order: LayerOrder, phases: tuple[Phase, ...], level: Level | None) -> None:
    with explained(f"Writing {path}"):
        if path.suffix == ".svg":
            drawing = picture.draw(order, phases, (level or Level.layer).value)
            path.write_text(picture.svg(drawing), encoding="utf-8")
        else:
            path.write_text(_text(order, phases, _KINDS[path.suffix], level, None) + "\n", encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OrderError(f"Cannot read {path}: {error}") from error


if __name__ == "__main__":
    run()
