"""Throughput of several ranks beside one process, and of DistributedDataParallel on the same network and batches.

Start it under torchrun. In every turn rank 0 takes gradient steps alone, on the whole batch, while the others wait;
then all ranks take as many together; then DistributedDataParallel does, with the same share of the batch each and
without the loss, which the walk needs on every rank. Ratios are taken within a turn, and their median is printed. With
one thread a rank, the ideal is the number of ranks.

    torchrun --nproc-per-node 2 benchmarks/ranks.py
    torchrun --nproc-per-node 8 benchmarks/ranks.py --device cuda --width 64 --batch-size 1024
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from provenance import add_table, publish, stamp
from shared import random_resnet18, table
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from llpf_plugin import Compute
from llpf_plugin.ranks import alone, current, is_first, joined, wait_for_all
from llpf_plugin.workspace import Workspace

LR, MOMENTUM = 1e-3, 0.9


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), LR, momentum=MOMENTUM, nesterov=True)


def ours(workspace: Workspace, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """The steps of a settle."""
    for _ in range(steps):
        workspace.backward(workspace.loss())
        optimizer.step()


def alone_on_first(workspace: Workspace, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """The same by one process; the others wait for it."""
    if is_first():
        with alone():
            ours(workspace, optimizer, steps)


def theirs(workspace: Workspace, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """A plain training loop on DistributedDataParallel."""
    task, ranks = workspace.task, current()
    for step in range(steps):
        inputs, targets = task.train.batch(workspace.batch_size, 0, step)
        own = ranks.part(len(inputs))
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(inputs[own]), targets[own]).backward()
        optimizer.step()


def seconds(workspace: Workspace, run: Callable[..., object], *arguments: Any) -> float:
    """Wall-clock time until all ranks are done."""
    synchronize(workspace)
    start = time.perf_counter()
    run(workspace, *arguments)
    synchronize(workspace)
    return time.perf_counter() - start


def synchronize(workspace: Workspace) -> None:
    if workspace.device.type == "cuda":
        torch.cuda.synchronize(workspace.device)
    wait_for_all()


def turns(asked: argparse.Namespace) -> list[tuple[float, float, float]]:
    """Seconds of a gradient step: of one process, of all ranks, and of DistributedDataParallel; one triple a turn."""
    task = random_resnet18(asked.width, batch_size=asked.batch_size)
    workspace = Workspace(task, Compute(asked.device), batch_size=asked.batch_size)
    other = random_resnet18(asked.width).model.to(workspace.device).train()
    parallel = DistributedDataParallel(other)
    optimizer, its = optimizer_of(workspace.model), optimizer_of(parallel)
    found = []
    for turn in range(asked.turns + 1):
        one = seconds(workspace, alone_on_first, optimizer, asked.steps)
        all_ranks = seconds(workspace, ours, optimizer, asked.steps)
        ddp = seconds(workspace, theirs, parallel, its, asked.steps)
        if turn > 0:  # the first warms up
            found.append((one / asked.steps, all_ranks / asked.steps, ddp / asked.steps))
    return found


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=16, help="of ResNet18's first stage")
    parser.add_argument("--batch-size", type=int, default=128, help="of all ranks together")
    parser.add_argument("--steps", type=int, default=4, help="gradient steps that are timed at once")
    parser.add_argument("--turns", type=int, default=5)
    add_table(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    with joined() as ranks:
        if ranks.size == 1:
            raise SystemExit("start this under torchrun: torchrun --nproc-per-node 2 benchmarks/ranks.py")
        torch.set_num_threads(1)
        found = turns(asked)
        if not is_first():
            return
        step = [median(times[i] for times in found) for i in range(3)]
        faster = [median(times[0] / times[i] for times in found) for i in range(3)]
        names = ("one process", f"{ranks.size} ranks", f"DistributedDataParallel, {ranks.size} ranks")
        rows = [
            (name, f"{1e3 * s:.0f} ms", f"{f:.2f}×", f"{f / (ranks.size if i else 1):.2f}")
            for i, (name, s, f) in enumerate(zip(names, step, faster, strict=True))
        ]
        text = table(("ResNet18", "a step", "throughput", "of the ideal"), rows)
        publish(text, asked.table, arguments, [stamp(asked.device)])


if __name__ == "__main__":
    main()
