"""A model without data, as a command line names it: its module, and what it is called with; torch comes late."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from cyclopts import Group, Parameter

from llpf_cli.options import TaskOptions, option, pairs
from llpf_plugin.errors import OrderError, UsageError
from llpf_plugin.tasks import find
from llpf_plugin.tasks.hugging_face import trusting

INPUTS = Group("Inputs", sort_key=1)

SPECIFICATIONS = "module:function, file.py:function, torchvision:NAME, timm:NAME, hf:CONFIG, a task"


@Parameter(name="*", group=INPUTS)
@dataclass(frozen=True)
class InputOptions:
    """What a model is called with."""

    input: Annotated[
        list[str],
        option(
            "Shape: 1x3x224x224, 1x8:int64, name=1x8:int64; repeat for more.", "-i", "--input", negative="",
            consume_multiple=False,
        ),
    ] = field(default_factory=list)  # fmt: skip
    dtype: Annotated[str, option("Type of inputs that name none [float32].")] = "float32"
    inputs: Annotated[str | None, option("module:function or file.py:function that makes the inputs.")] = None

    @property
    def given(self) -> int:
        """How many of the ways to name inputs were taken."""
        return bool(self.input) + (self.inputs is not None)

    def load(self, spec: str, arguments: Mapping[str, Any], device: str | None = None) -> tuple[Any, Any]:
        """The module that a specification names, and its inputs: those that are given, else those known for it.

        Returns:
            Module and example inputs, which are None if nothing is known of them.

        Raises:
            LLPFError: there is no such model, its code raised, or the inputs cannot be made.
        """
        from llpf_cli.models import load_model, parse_inputs
        from llpf_plugin.tasks import build

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what libraries say while they build a model
            network, known = load_model(spec, arguments, device, guess=not self.given)
            if self.inputs is not None:
                return network, build(self.inputs, find(self.inputs), {})
        return network, parse_inputs(self.input, self.dtype) if self.input else known


def unknown_inputs(spec: str, more: str = "") -> OrderError:
    """The error of a model whose inputs nobody knows."""
    return OrderError(
        f"no inputs are known for {spec}: give --input 1x3x224x224, --inputs file.py:function, {'' if more else 'or '}"
        f"return (model, inputs) from the function{more}"
    )


def network_of(task: TaskOptions, model: str | None, inputs: InputOptions, first: str | None = None) -> tuple[Any, Any]:
    """The module that a command works on, on the CPU in float32, and its example inputs: of a task, or without one.

    Raises:
        UsageError: neither is named, or both are.
        LLPFError: the module or its inputs cannot be made.
    """
    from llpf_plugin.order import Inputs

    if task.task is not None and (model is not None or inputs.given):
        raise UsageError("give --task, or --model with its --input or --inputs, not both")
    if task.task is not None:
        loaded = task.load(first)
        return loaded.model, loaded.example_inputs()
    if model is None:
        raise UsageError("--task or --model is needed: a checkpoint does not contain the architecture")
    if inputs.given > 1:
        raise UsageError("give one of --input and --inputs")
    with trusting(task.trust):
        network, example = inputs.load(model, pairs(task.task_args), "cpu")
    if example is None:
        raise unknown_inputs(model)
    if hasattr(getattr(network, "config", None), "use_cache"):
        network.config.use_cache = False  # keys and values among the outputs would fix the order of heads
    return network.float(), Inputs.of(example).map(lambda t: t.float() if t.is_floating_point() else t)
