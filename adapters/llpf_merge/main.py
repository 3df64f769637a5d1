"""``llpf-merge``: options, and the one place where errors become exit codes."""

from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console

from llpf_merge.compare import ablate, compare
from llpf_merge.demo import run_demo
from llpf_merge.exits import CONNECTED, NOT_CONNECTED, exits
from llpf_merge.job import Request, merge
from llpf_merge.origin import ORIGIN, descend
from llpf_merge.tree import join
from llpf_plugin import Compute, Settings
from llpf_plugin.geometry.sphere import Correct
from llpf_plugin.search.settings import Across, Method, Optimizer, Sides
from llpf_plugin.workspace import Precision

RUN = Path("run")
DEFAULTS = Settings()

EXAMPLES = """
**Examples**

- `llpf-merge --demo` trains two digit networks from two seeds and connects them.

- `llpf-merge a.pt b.pt --task digits/resnet -o run --max-loss 0.1`

- `llpf-merge a.safetensors b.safetensors --task mytask.py:task -t width=32 --device cuda --precision bfloat16`

- `llpf-merge a.pt b.pt --task cifar10/resnet18 --pace resnet18-cifar10-fdf` walks the paper's schedule.

- `llpf-merge a.pt origin --task digits/resnet --to b.pt` walks A down to the variance spheres of B.

- `llpf-merge a.pt b.pt --task cifar10/resnet8 --phases stage --sides both` for networks that are hard to connect.

- `llpf-merge a.pt b.pt --task digits/resnet --method sphere-curve --steps 200` trains a curve instead of walking.

- `llpf-merge a.pt b.pt --task digits/resnet --align --method linear` brings B's units into A's order and averages.

- `llpf-merge a.pt b.pt --task digits/resnet --compare -o compared` runs every method within one budget.

- `llpf-merge a.pt b.pt c.pt d.pt --task digits/resnet -o tree` joins four models, pair by pair.

- `llpf-merge a.pt b.pt --task cifar10/resnet8 --dry-run` only checks, and says what it would cost.

Exit codes: 0 connected, 1 error, 2 wrong usage, 3 the goal was not reached, 130 stopped by Ctrl-C.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES, no_args_is_help=True)
@exits("llpf-merge")
def command(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="A B …", help="Checkpoints: .pt, .safetensors, folders; or: A origin."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="digits/resnet, …, file.py:function or module:function.")] = None,
    task_argument: Annotated[list[str] | None, typer.Option("--task-arg", "-t", help="key=value for the task.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for merged model, path, picture, verdict [run].")
    ] = None,
    max_loss: Annotated[float | None, typer.Option(help="Goal: training loss that no point exceeds.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Goal above the worse end's loss [the task's, 0.1].")] = None,
    budget: Annotated[int, typer.Option(help="Gradient steps, repairs included.")] = DEFAULTS.budget,
    pick: Annotated[str, typer.Option(help="Merged model: best (by validation, inner t), mid, end, or t.")] = "best",
    pace: Annotated[str, typer.Option(help="adaptive, or a schedule: a YAML file or a shipped name.")] = DEFAULTS.pace,
    phases: Annotated[
        str, typer.Option(help="all, auto, layer, block, stage, a number, a YAML file.")
    ] = DEFAULTS.phases,
    order: Annotated[str, typer.Option(help="fdf, levels, or a file that llpf-order wrote.")] = DEFAULTS.order,
    sides: Annotated[
        str, typer.Option(help="one: walk from A to B; both: from both ends until they meet.")
    ] = DEFAULTS.sides,
    lr: Annotated[float | None, typer.Option(help="Learning rate of settling [the task's].")] = None,
    momentum: Annotated[float | None, typer.Option(help="Momentum of settling [the task's].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples of a gradient step [the task's].")] = None,
    threshold: Annotated[float | None, typer.Option(help="Loss that ends settling [half-way to the goal].")] = None,
    barrier: Annotated[float | None, typer.Option(help="Loss that undoes a move [3 × as far as the goal].")] = None,
    share: Annotated[float, typer.Option(help="Share of the distance of the first move.")] = DEFAULTS.share,
    correct: Annotated[str, typer.Option(help="On spheres: matrices, all, none.")] = DEFAULTS.correct,
    across: Annotated[str, typer.Option(help="By common variance spheres: auto, never, always.")] = DEFAULTS.across,
    to: Annotated[
        str | None, typer.Option(help="With origin: end at this part of A's variances, or at B.pt's.")
    ] = None,
    ticks: Annotated[int | None, typer.Option(help="With origin: end after so many ticks.")] = None,
    points: Annotated[int, typer.Option(help="Measured points a segment.")] = DEFAULTS.points,
    sample: Annotated[int | None, typer.Option(help="Training examples to measure on [all].")] = None,
    repairs: Annotated[int, typer.Option(help="Rounds of repair.")] = DEFAULTS.repairs,
    thin: Annotated[float | None, typer.Option(help="Loss that dropping a knot may cost [1/20 of the room].")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of activations: float32, tf32, bfloat16, float16.")] = "float32",
    compile_: Annotated[bool, typer.Option("--compile", help="Run the model through torch.compile.")] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Lay images out channels last.")] = False,
    method: Annotated[str, typer.Option(help="llpf, sphere-curve, bezier, autoneb, linear, finetune.")] = "llpf",
    steps: Annotated[int | None, typer.Option(help="Gradient steps of a trained method [the budget].")] = None,
    control: Annotated[int, typer.Option(help="Points of a curve that are trained.")] = DEFAULTS.control,
    optimizer: Annotated[str, typer.Option(help="Of a curve: sgd, adam.")] = DEFAULTS.optimizer,
    polish: Annotated[int, typer.Option(help="Gradient steps that train the found path as a chain.")] = 0,
    settle: Annotated[bool, typer.Option("--settle/--no-settle", help="Settle after every move.")] = True,
    align: Annotated[bool, typer.Option("--align", help="First bring B's units into A's order.")] = False,
    compare_: Annotated[bool, typer.Option("--compare", help="Run every method, side by side.")] = False,
    ablate_: Annotated[str, typer.Option("--ablate", help="LLPF without: order,variance,settle.")] = "",
    seed: Annotated[int, typer.Option(help="Of batches, augmentation and dropout.")] = DEFAULTS.seed,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, show the order, estimate the cost.")] = False,
    report: Annotated[bool, typer.Option(help="Write report.html, if matplotlib is there.")] = True,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write a TensorBoard log to watch.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Train two small networks and connect them.")] = False,
) -> int:
    """Connect independently trained networks by paths of low training loss, and merge them on these.

    A checkpoint says neither architecture nor data; the task does. What comes out is the merged model in the format of
    A, the path, one picture, and a verdict by the paper's three criteria.

    A and B are .pt or .safetensors files or folders of shards; more than two are joined pairwise, and `A origin` walks
    from A towards the origin.
    """
    if demo:
        connected = run_demo(Console(), out, device, seed)
        return CONNECTED if connected else NOT_CONNECTED
    if models is None or len(models) < 2 or task is None:
        raise typer.BadParameter("two checkpoints or more, and --task, are needed (or --demo)")
    a, b, *more = models
    settings = Settings(
        max_loss, tolerance, budget, phases, order, pace, lr, momentum, batch_size, threshold, barrier, share,
        sides=_one_of("--sides", sides, Sides), correct=_one_of("--correct", correct, Correct),
        across=_one_of("--across", across, Across), points=points, sample=sample, repairs=repairs, thin=thin, seed=seed,
        method=_one_of("--method", method, Method), steps=steps, control=control,
        optimizer=_one_of("--optimizer", optimizer, Optimizer), polish=polish, settle=settle,
    )  # fmt: skip
    compute = Compute(device, _one_of("--precision", precision, Precision), compile_, channels_last)
    arguments = dict(pair(text) for text in task_argument or [])
    to_origin = b == ORIGIN and not b.exists()
    if not to_origin and (to is not None or ticks is not None):
        raise typer.BadParameter("--to and --ticks are for a walk to the origin: llpf-merge a.pt origin …")
    request = Request(
        a, b, task, arguments, out or RUN, settings, compute, pick, resume, dry_run, report, tensorboard,
        to, ticks, align, compare_, ablate_, more=tuple(more),
    )  # fmt: skip
    if more and (to_origin or compare_ or ablate_):
        raise typer.BadParameter("origin, --compare and --ablate are about two checkpoints")
    if to_origin and (compare_ or ablate_ or align):
        raise typer.BadParameter("--compare, --ablate and --align are about two checkpoints, not the origin")
    if more:
        connected = join(request, Console())
    elif to_origin:
        connected = descend(request, Console())
    elif ablate_ and not dry_run:
        connected = ablate(request, Console(), [part.strip() for part in ablate_.split(",")])
    elif compare_ and not dry_run:
        connected = compare(request, Console())
    else:
        quality = merge(request, Console())
        connected = quality is None or quality.connected
    return CONNECTED if connected else NOT_CONNECTED


def _one_of(option: str, value: str, choices: Any) -> Any:
    """The value, if it is one of a Literal's."""
    if value not in get_args(choices):
        raise typer.BadParameter(f"{value!r} is none of {', '.join(get_args(choices))}", param_hint=option)
    return value


def pair(text: str) -> tuple[str, Any]:
    """``key=value``, the value a number or truth value where it reads as one."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"{text!r} is not key=value", param_hint="--task-arg")
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return key, words[value.lower()]
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value


def run() -> None:
    """The console script."""
    app()
