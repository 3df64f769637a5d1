"""What a tick costs beside the SGD steps of its settle, in time and in memory.

The tick is the walk's own, with its settle taken out: distances, a copy to undo the move, the move, and the
projection before and after. It is timed in turns with a literal tick, which deep-copies and loads the state dict for
the move and for each projection, tensor by tensor, and with the plain SGD steps of one settle on the same network and
batches; ratios are taken within each turn, and their median over the turns is printed.

    python benchmarks/tick.py
    python benchmarks/tick.py --device cuda --batch-size 256
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
from literal_tick import LiteralTick
from provenance import add_table, publish, stamp
from shared import random_resnet18, table
from torch import nn

from llpf_plugin import Compute, LLPFError, Task, load_task
from llpf_plugin.geometry import Weights, clone, coordinates
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.llpf import Phase, Scheduled, Settled, SettleRule, ToModel, Walk
from llpf_plugin.training import initialise
from llpf_plugin.workspace import Workspace

STEP_A = 1e-3
"""Share of the distance left that every tick moves (paper, table 4)."""

MOMENTUM, LR = 0.9, 1e-3


class Unsettled(Walk):
    """The walk with its settle taken out: every move is accepted as it is."""

    settle = staticmethod(lambda *_: Settled(1, 0.0, 0.0, low=True))


@dataclass(frozen=True)
class Case:
    """A network and its settle.

    Attributes:
        task: makes the network and its data.
        batch_size: examples of a gradient step.
        steps: gradient steps of a settle.
        goal: the tick's time over the settle's.
    """

    name: str
    task: Callable[[], Task]
    batch_size: int
    steps: int
    goal: float


def cases(batch_size: int, width: int) -> list[Case]:
    return [
        Case("ResNet18", lambda: resnet18(width), batch_size, steps=20, goal=0.05),
        Case("ResNet18", lambda: resnet18(width), batch_size, steps=2, goal=0.1),
        Case("DenseNet121", densenet, batch_size, steps=2, goal=0.1),
        Case("digits ResNet", lambda: load_task("digits/resnet"), 64, steps=2, goal=0.1),
    ]


def densenet() -> Task:
    """The built-in task, whose data must be at hand."""
    return load_task("cifar10/densenet", {"subset": 2048})


def resnet18(width: int) -> Task:
    """The built-in task if its data are at hand, else its network on random images."""
    try:
        return load_task("cifar10/resnet18", {"width": width, "subset": 2048})
    except LLPFError:
        return random_resnet18(width)


def ends_of(workspace: Workspace) -> tuple[Weights, Weights]:
    """Two random networks."""
    ends = []
    for seed in (0, 1):
        initialise(workspace.task, seed)
        ends.append(clone(coordinates(workspace.model)))
    return ends[0], ends[1]


def walk_of(workspace: Workspace, settle_steps: int, kind: type[Walk] = Walk) -> Walk:
    """A walk of all layers at once, each by a share of the distance left."""
    rule = SettleRule(-1.0, settle_steps, settle_steps, lr=LR, momentum=MOMENTUM)
    control = Scheduled(1_000_000, StepRule(step_a=STEP_A))
    phase = Phase("all", frozenset(coordinates(workspace.model)), control, rule)
    return kind(workspace, (phase,), lambda weights, end: ToModel(weights, end, "matrices"))


def sgd_steps(workspace: Workspace, optimizer: torch.optim.Optimizer, count: int) -> None:
    """The plain training loop."""
    for _ in range(count):
        workspace.backward(workspace.loss())
        optimizer.step()


def seconds(workspace: Workspace, run: Callable[[], object]) -> float:
    """Wall-clock time, the device's queue drained before and after."""
    synchronize(workspace)
    start = time.perf_counter()
    run()
    synchronize(workspace)
    return time.perf_counter() - start


def synchronize(workspace: Workspace) -> None:
    if workspace.device.type == "cuda":
        torch.cuda.synchronize(workspace.device)


def times(case: Case, compute: Compute, turns: int, repeat: int = 5) -> list[tuple[float, float, float]]:
    """Seconds of a tick without its settle, of the literal tick, and of the settle's SGD steps, one triple a turn."""
    workspace = Workspace(case.task(), compute, batch_size=case.batch_size)
    walk = walk_of(workspace, case.steps, Unsettled)
    state = walk.init(*ends_of(workspace))
    literal = LiteralTick(walk, STEP_A)

    def ours() -> None:
        for _ in range(repeat):
            walk.step(state)

    def theirs() -> None:
        for _ in range(repeat):
            literal()

    measured = []
    sgd_steps(workspace, walk.optimizer, 1)
    for turn in range(turns + 1):
        tick, other = seconds(workspace, ours) / repeat, seconds(workspace, theirs) / repeat
        settle = seconds(workspace, lambda: sgd_steps(workspace, walk.optimizer, case.steps))
        if turn > 0:  # the first warms up
            measured.append((tick, other, settle))
    return measured


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[int]]:
    """The most bytes of tensors allocated inside the context beyond those before it, appended on leaving."""
    result: list[int] = []
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield result
        result.append(torch.cuda.max_memory_allocated(device) - before)
        return
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield result
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    level = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        level += event.nbytes()
        most = max(most, level)
    result.append(most)


def memory(case: Case, compute: Compute, steps: int = 2) -> tuple[int, int, int]:
    """Bytes of the weights, of plain training at its peak and of the walk at its peak; model and data not counted.

    A and B as they were read from disk, and knots that are kept, lie in host memory and are not counted either.
    """
    workspace = Workspace(case.task(), compute, batch_size=case.batch_size)
    start, end = (clone(weights, "cpu") for weights in ends_of(workspace))
    weights = sum(t.numel() * t.element_size() for t in coordinates(workspace.model).values())
    rest(workspace.model)
    with peak_memory(workspace.device) as plain:
        parameters = workspace.model.parameters()
        sgd_steps(workspace, torch.optim.SGD(parameters, LR, momentum=MOMENTUM, nesterov=True), steps)
    rest(workspace.model)
    with peak_memory(workspace.device) as walked:
        two_ticks(walk_of(workspace, steps), start, end)
    rest(workspace.model)
    return weights, plain[0], walked[0]


def rest(model: nn.Module) -> None:
    model.zero_grad(set_to_none=True)


def two_ticks(walk: Walk, start: Weights, end: Weights) -> None:
    """A walk's first ticks, from the making of its copies on."""
    state = walk.init(start, end)
    for _ in range(2):
        state = walk.step(state).state


def speed_row(case: Case, measured: Sequence[tuple[float, float, float]]) -> tuple[str, ...]:
    tick, literal, settle = (median(m[i] for m in measured) for i in range(3))
    share, faster = median(m[0] / m[2] for m in measured), median(m[1] / m[0] for m in measured)
    return (
        f"{case.name}, batch {case.batch_size}, {case.steps} steps", f"{tick * 1e3:.2f} ms", f"{settle * 1e3:.1f} ms",
        f"{share:.1%} (≤ {case.goal:.0%})", f"{literal * 1e3:.2f} ms", f"{faster:.1f}× (≥ 2×)",
    )  # fmt: skip


def memory_row(case: Case, measured: tuple[int, int, int]) -> tuple[str, ...]:
    weights, plain, walked = measured
    return (
        f"{case.name}, batch {case.batch_size}", f"{weights / 2**20:.1f} MiB", f"{plain / 2**20:.1f} MiB",
        f"{walked / 2**20:.1f} MiB", f"+{(walked - plain) / weights:.2f} × weights (≤ 2.5)",
    )  # fmt: skip


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--batch-size", type=int, default=4, help="of ResNet18 and DenseNet121 (a CPU needs 10 s for a step of 256)"
    )
    parser.add_argument("--width", type=int, default=64, help="of ResNet18's first stage")
    parser.add_argument("--turns", type=int, default=5)
    add_table(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    compute = Compute(asked.device)
    every = cases(asked.batch_size, asked.width)
    head = ("network", "tick without SGD", "settle's SGD steps", "share (goal)", "literal tick", "faster (goal)")
    speed = table(head, [speed_row(case, times(case, compute, asked.turns)) for case in every])
    columns = ("network", "weights", "training", "walk", "walk − training (goal)")
    space = table(columns, [memory_row(case, memory(case, compute)) for case in every[1:]])
    titles = f"Medians of {asked.turns} turns", "Peak of allocated tensors, model and data not counted"
    text = "\n\n".join([titles[0], speed, titles[1], space])
    publish(text, asked.table, arguments, [stamp(compute.resolve())])


if __name__ == "__main__":
    main()
