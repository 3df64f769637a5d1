"""What a tick costs beside the SGD steps of its settle, in time and in memory.

The tick is the finder's own, with its settle taken out: distances, a copy to undo the move, the move, and the
projection before and after. It is timed in turns with a literal tick, which deep-copies and loads the state dict for
the move and for each projection, tensor by tensor, and with the plain SGD steps of one settle on the same network and
batches; ratios are taken within each turn, and their median over the turns is printed.

    python benchmarks/tick.py
    python benchmarks/tick.py --device cuda --batch-size 256
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from unittest.mock import patch

import torch
from llpf_plugin.llpf.low_loss import LowLoss, PhaseRule
from llpf_plugin.llpf.pace import FixedPace
from shared import machine, random_resnet18, table
from torch import Tensor, nn

from llpf_plugin import Compute, LLPFError, Task, load_task
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.geometry.weights import Weights, clone, coordinates
from llpf_plugin.llpf import low_loss
from llpf_plugin.llpf.settle import Settled, SettleRule
from llpf_plugin.llpf.walk import Walk, WalkState
from llpf_plugin.methods.base import Leg
from llpf_plugin.training import initialise
from llpf_plugin.workspace import Gradient

STEP_A = 1e-3
"""Share of the distance left that every tick moves (paper, table 4)."""

MOMENTUM, LR = 0.9, 1e-3
DONE = Settled(1, 0.0, 0.0, low=True)


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
        Case("digits ResNet", lambda: load_task("digits/resnet"), 64, steps=2, goal=0.5),
    ]


def resnet18(width: int) -> Task:
    """The built-in task if its data are at hand, else its network on random images."""
    try:
        return load_task("cifar10/resnet18", {"width": width, "subset": 2048})
    except LLPFError:
        return random_resnet18(width)


def walk_of(case: Case, gradient: Gradient, settle_steps: int) -> tuple[LowLoss, Walk, WalkState]:
    """A walk between two random networks, placed at its start."""
    ends = []
    for seed in (1, 0):
        initialise(gradient.model, seed)
        ends.append(clone(coordinates(gradient.model)))
    rule = SettleRule(-1.0, settle_steps, settle_steps, lr=LR, momentum=MOMENTUM)
    finder = LowLoss((PhaseRule("all", None, FixedPace(1_000_000, StepRule(step_a=STEP_A)), rule),))
    walk, state = finder.init(Leg(gradient, ends[1], ends[0]))
    return finder, walk, state


def sgd_steps(gradient: Gradient, optimizer: torch.optim.Optimizer, count: int) -> None:
    """The plain training loop."""
    for _ in range(count):
        gradient.backward(gradient.loss())
        optimizer.step()


class LiteralTick:
    """A tick written down as the algorithm reads, on state dicts: the reference that ours is compared with."""

    def __init__(self, walk: Walk) -> None:
        self.model = copy.deepcopy(walk.gradient.model)
        self.destination, self.spheres = clone(walk.destination), walk.spheres

    def __call__(self) -> None:
        """Move, project, and, settling left out, project again."""
        self.update(self.move)
        self.update(self.project)
        self.update(self.project)

    def update(self, change: Callable[[str, Tensor], Tensor]) -> None:
        """Change every coordinate of a deep copy of the state dict, and load it."""
        state = copy.deepcopy(self.model.state_dict())
        for name in self.destination:
            state[name] = change(name, state[name])
        self.model.load_state_dict(state)

    def move(self, name: str, p: Tensor) -> Tensor:
        """A share of the way, never past the destination."""
        towards = self.destination[name] - p
        gap = torch.norm(towards).item()
        return p + towards * (min(gap, STEP_A * gap) / gap) if gap > 0 else p

    def project(self, name: str, p: Tensor) -> Tensor:
        """Back to its variance sphere, if it has one."""
        if name not in self.spheres:
            return p
        mean, variance = p.mean(), p.var(correction=0).item()
        return (p - mean) * (self.spheres[name] / variance) ** 0.5 + mean


def seconds(gradient: Gradient, run: Callable[[], object]) -> float:
    """Wall-clock time, the device's queue drained before and after."""
    synchronize(gradient)
    start = time.perf_counter()
    run()
    synchronize(gradient)
    return time.perf_counter() - start


def synchronize(gradient: Gradient) -> None:
    if gradient.device.type == "cuda":
        torch.cuda.synchronize(gradient.device)


def times(case: Case, compute: Compute, turns: int, repeat: int = 5) -> list[tuple[float, float, float]]:
    """Seconds of a tick without its settle, of the literal tick, and of the settle's SGD steps, one triple a turn."""
    gradient = Gradient(case.task(), compute, batch_size=case.batch_size)
    finder, walk, state = walk_of(case, gradient, case.steps)
    literal = LiteralTick(walk)

    def ours() -> None:
        for _ in range(repeat):
            finder.step(walk, state)

    def theirs() -> None:
        for _ in range(repeat):
            literal()

    measured = []
    with patch.object(low_loss, "settle", lambda *_: DONE):
        sgd_steps(gradient, walk.optimizer, 1)
        for turn in range(turns + 1):
            tick, other = seconds(gradient, ours) / repeat, seconds(gradient, theirs) / repeat
            settle = seconds(gradient, lambda: sgd_steps(gradient, walk.optimizer, case.steps))
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
    gradient = Gradient(case.task(), compute, batch_size=case.batch_size)
    finder, walk, _ = walk_of(case, gradient, steps)
    start, end = clone(walk.before, "cpu"), walk.end
    weights = sum(t.numel() * t.element_size() for t in walk.weights.values())
    del walk
    rest(gradient.model)
    with peak_memory(gradient.device) as plain:
        parameters = gradient.model.parameters()
        sgd_steps(gradient, torch.optim.SGD(parameters, LR, momentum=MOMENTUM, nesterov=True), steps)
    rest(gradient.model)
    with peak_memory(gradient.device) as walked:
        two_ticks(finder, gradient, start, end)
    rest(gradient.model)
    return weights, plain[0], walked[0]


def rest(model: nn.Module) -> None:
    model.zero_grad(set_to_none=True)


def two_ticks(finder: LowLoss, gradient: Gradient, start: Weights, end: Weights) -> None:
    """A walk's first ticks, from the making of its copies on."""
    walk, state = finder.init(Leg(gradient, start, end))
    for _ in range(2):
        state = finder.step(walk, state).state


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
    parser.add_argument("--batch-size", type=int, default=4, help="of ResNet18 (a CPU needs 10 s for a step of 256)")
    parser.add_argument("--width", type=int, default=64, help="of ResNet18's first stage")
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    compute = Compute(asked.device)
    every = cases(asked.batch_size, asked.width)
    print(f"{machine(compute.resolve())}; medians of {asked.turns} turns\n")
    head = ("network", "tick without SGD", "settle's SGD steps", "share (goal)", "literal tick", "faster (goal)")
    print(table(head, [speed_row(case, times(case, compute, asked.turns)) for case in every]), flush=True)
    columns = ("network", "weights", "training", "walk", "walk − training (goal)")
    print("", "Peak of allocated tensors, model and data not counted:", "", sep="\n")
    print(table(columns, [memory_row(case, memory(case, compute)) for case in every]))


if __name__ == "__main__":
    main()
