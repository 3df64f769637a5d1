"""Options that several commands share, in the panels of their ``--help``; nothing here imports torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from llpf_plugin.errors import LLPFError, SpecificationError, UsageError
from llpf_plugin.methods import Method, known, make_method
from llpf_plugin.tasks import parse_arguments
from llpf_plugin.tasks.hugging_face import trusting

if TYPE_CHECKING:
    from llpf_plugin.tasks import Task

GOAL, PATH, OUTPUT, COMPUTE = (
    Group(name, sort_key=place) for place, name in enumerate(("Goal and budget", "Path", "Output", "Compute"), start=1)
)


def option(text: str, *names: str, **more: Any) -> Parameter:
    """An option with its help, which names its default in brackets where it is not just off or nothing."""
    return Parameter(name=names or None, help=text, show_default=False, show_choices=False, **more)


@contextmanager
def checked() -> Iterator[None]:
    """A value that makes no sense is wrong usage; a file that is missing or whose code fails is an error.

    Raises:
        UsageError: in place of any other `LLPFError` but a `SpecificationError`.
    """
    try:
        yield
    except SpecificationError:
        raise
    except LLPFError as error:
        raise UsageError(str(error)) from error


def pairs(words: Sequence[str]) -> dict[str, Any]:
    """``key=value`` words as a mapping.

    Raises:
        UsageError: a word has another form.
    """
    try:
        return parse_arguments(words)
    except SpecificationError as error:
        raise UsageError(str(error)) from error


RUN = Path("run")
"""The folder of a run that names none."""

SETTINGS = option(
    "key=value for the method; repeat for more.", "-m", "--method-arg", negative="", consume_multiple=False
)


@Parameter(name="*", group=GOAL)
@dataclass(frozen=True)
class GoalOptions:
    """What a search is to reach, and what it may cost."""

    max_loss: Annotated[float | None, option("Training loss that no point of the path may exceed.")] = None
    tolerance: Annotated[
        float | None, option("The same, as a distance above the worse endpoint's [the task's, 0.1].")
    ] = None
    budget: Annotated[
        int | None, option("Gradient steps, repairs included [20,000; all that a schedule may take].")
    ] = None
    lr: Annotated[float | None, option("Learning rate [found; a schedule's; of origin, the task's].")] = None
    momentum: Annotated[float | None, option("Momentum [a schedule's, or the task's].")] = None
    batch_size: Annotated[int | None, option("Examples per gradient step [a schedule's, or the task's].")] = None
    seed: Annotated[int, option("Seed for batches, augmentation and dropout [0].")] = 0


TRUST = "Run code of others, with your rights: of a folder of transformers, or named by a run's folder or --config."


@Parameter(name="*", group=PATH)
@dataclass(frozen=True)
class TaskOptions:
    """Which network, which data."""

    task: Annotated[str | None, option("Network and data: digits/resnet, …, file.py:function or module:function.")] = (
        None
    )
    task_args: Annotated[
        list[str],
        option("key=value for the task; repeat for more.", "-t", "--task-arg", negative="", consume_multiple=False),
    ] = field(default_factory=list)

    trust: Annotated[bool, option(TRUST, negative="")] = False

    def named(self, first: str | None = None) -> tuple[str, dict[str, Any]]:
        """The task's name and arguments.

        Args:
            first: checkpoint A, whose folder has the network of a task of transformers unless ``-t model=`` says so.

        Raises:
            UsageError: no task was given.
        """
        if self.task is None:
            raise UsageError("--task is needed: a checkpoint contains neither the architecture nor the data")
        arguments = pairs(self.task_args)
        if self.task.startswith("hf/") and first is not None:
            arguments.setdefault("model", str(Path(first).resolve()))
        return self.task, arguments

    def load(self, first: str | None = None) -> "Task":
        """The task; ``first`` as for `named`.

        Raises:
            UsageError: no task was given.
            TaskError: it cannot be built.
        """
        from llpf_plugin import load_task

        with trusting(self.trust):
            return load_task(*self.named(first))


STATES = "The weights to take from files with several sets: ema, state_dict_ema, … [the model's]."
STATE = option(STATES, group=PATH)


@Parameter(name="*", group=PATH)
@dataclass(frozen=True)
class MethodArguments:
    """Settings of LLPF."""

    method_args: Annotated[list[str], SETTINGS] = field(default_factory=list)

    def made(self) -> Method:
        """LLPF with these settings.

        Raises:
            UsageError: there is no such setting, or it does not take the value.
        """
        with checked():
            return make_method("llpf", pairs(self.method_args))


@Parameter(name="*", group=PATH)
@dataclass(frozen=True)
class MethodOptions:
    """How the path is found."""

    method: Annotated[str, option(f"{', '.join(known())}, or file.py:Class [llpf]; see llpf methods.")] = "llpf"
    method_args: Annotated[list[str], SETTINGS] = field(default_factory=list)

    def made(self) -> Method:
        """The method with these settings.

        Raises:
            UsageError: there is no such method or setting, or a setting does not take the value.
            SpecificationError: the method's file is missing, or its code fails.
        """
        with checked():
            return make_method(self.method, pairs(self.method_args))


@Parameter(name="*", group=PATH)
@dataclass(frozen=True)
class MeasureOptions:
    """How a path is measured."""

    points: Annotated[int, option("Points evaluated per segment [4].")] = 4
    sample: Annotated[int | None, option("Training examples to measure on [all].")] = None
    measure: Annotated[
        Literal["auto", "exact"], option("Use them all at few places (auto) or at every place (exact) [auto].")
    ] = "auto"


def search_options(goal: GoalOptions, measure: MeasureOptions) -> dict[str, Any]:
    """What is asked of every search, by the names of `llpf_plugin.search.SearchOptions`.

    Raises:
        UsageError: a number is out of range, or two options exclude each other.
    """
    from llpf_plugin.search import SearchOptions

    values = {**asdict(goal), **asdict(measure)}
    with checked():
        SearchOptions(**values)
    return values


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True)
class OutputOptions:
    """Where results go."""

    out: Annotated[
        Path | None, option("Folder for the merged model, the path and the verdict [run].", "-o", "--out")
    ] = None
    resume: Annotated[bool, option("Continue the run in the folder.", negative="")] = False
    report: Annotated[bool, option("Write report.html (needs matplotlib) [on].")] = True
    tensorboard: Annotated[bool, option("Write a TensorBoard log to watch.", negative="")] = False
    config: Annotated[
        Path | None, option("Read options from a YAML file, as a run writes it; with --trust, a task of your own too.")
    ] = None


@Parameter(name="*", group=COMPUTE)
@dataclass(frozen=True)
class ComputeOptions:
    """Where and how gradients are computed."""

    device: Annotated[str, option("cpu, cuda, cuda:1, mps [the first accelerator there is].")] = "auto"
    precision: Annotated[
        Literal["float32", "tf32", "bfloat16", "float16"],
        option("Activation precision: float32, tf32, bfloat16, float16 [float32]."),
    ] = "float32"
    compile: Annotated[bool, option("Run the model through torch.compile.", negative="")] = False
    shard: Annotated[bool, option("Spread the weights over the ranks of torchrun (FSDP2).", negative="")] = False

    def made(self) -> Any:
        """The library's value."""
        from llpf_plugin import Compute

        return Compute(**asdict(self))
