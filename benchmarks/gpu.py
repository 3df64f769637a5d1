"""Rows of the paper on one GPU: `gpu.sh` runs this. Networks are gone through in the order given, until time is over.

Steps of small networks keep a GPU waiting for its CPU, so several processes share it: each trains an end, or connects
a pair whose ends are there (as `reproduce.py` does it) and measures it. Before they start, the rate of a walk is taken
beside that of a bare training loop, with the GPU to itself. Ends are kept as far as they fit, small ones in float32.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from provenance import machine
from reproduce import append
from reproduction import Deadline, Line, Row, end, one_pair, pairs_of, read_lines
from safetensors.torch import save_file
from shared import table

from llpf_plugin import LLPF, Compute, find_path
from llpf_plugin.errors import InterruptedRun, LLPFError
from llpf_plugin.files import write_json
from llpf_plugin.search import SearchOptions
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace

OTHERS = ("sphere-curve", "bezier", "autoneb")
"""What LLPF is set beside."""


@dataclass(frozen=True)
class Network:
    """What is done with a network.

    Attributes:
        epochs: of its ends.
        pairs: to connect by LLPF.
        beside: other methods, on the first pair, with all of the budget.
        aligned: everything on the first pair once more, B's units nearest to A's.
        options: of its searches, where they are not everyone's.
    """

    epochs: float
    pairs: int = 1
    beside: Sequence[str] = ()
    aligned: bool = False
    options: Mapping[str, float] = field(default_factory=dict)


NETWORKS = {
    "cifar10/resnet18": Network(30, beside=OTHERS[:1], aligned=True, options={"tolerance": 0.03, "budget": 4000}),
    "cifar10/vgg11": Network(30, aligned=True),
    "cifar10/resnet20": Network(30, 3, OTHERS, True),
    "cifar10/cct2": Network(40, 1, OTHERS, True),
    "cifar10/regnetx-200mf": Network(15),
    "cifar10/shufflenetv2": Network(15),
    "cifar10/mobilenetv2": Network(10),
    "cifar10/dla": Network(10),
    "cifar10/efficientnet-b0": Network(10),
    "cifar10/cct7": Network(20),
    "cifar10/densenet": Network(8),
}
"""The networks in the order in which they are worth the time."""

FILES, LARGEST = 7, 15 * 2**20
"""Files at most that results may consist of, and bytes of each."""

SMALL = 2 * 2**20
"""Networks of at most so many bytes are kept in float32, larger ones in bfloat16."""

WARM_UP = 10
"""Steps of a loop before it is timed."""


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        out: the folder of the results.
        work: the folder of networks and runs.
        compute: device and precision.
        options: of searches.
        arguments: of every task.
        networks: by task.
    """

    out: Path
    work: Path
    compute: Compute
    options: SearchOptions
    arguments: Mapping[str, object]
    networks: Mapping[str, Network]

    @property
    def lines(self) -> Path:
        """The file of the lines."""
        return self.out / "lines.jsonl"

    def rows(self, task: str) -> list[tuple[Row, int]]:
        """What is to be reproduced of a network: rows, and the number of pairs of each."""
        own = self.networks[task]
        row = Row(task, self.arguments, epochs=own.epochs, options=replace(self.options, **own.options), places=20)
        rows = [(row, own.pairs), *((replace(row, method=name), 1) for name in own.beside)]
        return rows + [(replace(one, aligned=True), 1) for one, _ in rows] * own.aligned


@dataclass(frozen=True)
class Job:
    """What one process does: train the end ``ends[0]``, or connect the two ends.

    Attributes:
        row: what it belongs to.
        ends: their seeds.
    """

    row: Row
    ends: tuple[int, ...]

    @property
    def needs(self) -> set[tuple[str, int]]:
        """The ends that have to be there."""
        return {(self.row.stem, seed) for seed in self.ends} if len(self.ends) > 1 else set()

    def __str__(self) -> str:
        return f"{self.row.task}, " + (f"{self.row.way}, " if self.needs else "end ") + "-".join(map(str, self.ends))

    def run(self, plan: Plan, minutes: float | None) -> Line | None:
        """Do it, in at most so many minutes.

        Raises:
            InterruptedRun: they were too few.
        """
        deadline = Deadline(minutes, said=f"{self}: ")
        if self.needs:
            dense = self.row.way == Row("").way and self.ends == (0, 1)
            line = one_pair(self.row, (self.ends[0], self.ends[1]), plan.work, plan.compute, deadline, dense)
        else:
            line = end(self.row, self.row.load(), self.ends[0], plan.work, plan.compute, deadline)
        if plan.compute.resolve().type == "cuda":
            torch.cuda.empty_cache()  # of networks that other processes need it for
        return line if isinstance(line, Line) else None


def jobs_of(plan: Plan) -> list[Job]:
    """Everything that has no line yet; of each network the ends come first."""
    known, jobs = read_lines(plan.lines), list[Job]()
    for task in plan.networks:
        pairs = [
            Job(row, pair) for row, count in plan.rows(task) for pair in pairs_of(count)
            if not any(row.has(line) and line.pair == pair for line in known)
        ]  # fmt: skip
        seeds = sorted({seed for job in pairs for seed in job.ends})
        jobs += [Job(pairs[0].row, (seed,)) for seed in seeds] + pairs
    return jobs


def work_down(plan: Plan, pool: Executor, at_once: int, deadline: Deadline) -> None:
    """Job after job, the first that can be done; one that fails is told of and does not keep the others."""
    jobs, trained = jobs_of(plan), set[tuple[str, int]]()
    running: dict[Future[Line | None], Job] = {}
    while True:
        able = [job for job in jobs if job.needs <= trained] if not deadline.over else []
        for job in able[: at_once - len(running)]:
            jobs.remove(job)
            running[pool.submit(job.run, plan, deadline.left)] = job
        if not running:
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            if finished(plan, job, future) and not job.needs:
                trained.add((job.row.stem, job.ends[0]))
    for job in jobs:
        print(f"{job}: left out", flush=True)


def finished(plan: Plan, job: Job, future: "Future[Line | None]") -> bool:
    """Keep a job's line, if it has one; say how it went."""
    try:
        line = future.result()
    except InterruptedRun:
        print(f"{job}: the time was over", flush=True)
    except Exception as error:
        print(f"{job}: failed, {type(error).__name__}: {error}", flush=True)
    else:
        if line is not None:
            append(plan.lines, line)
        print(f"{job}: done" + (f", {line.maximum:.4g} after {line.steps} steps" if line else ""), flush=True)
        return True
    return False


class Here(Executor):
    """Does every job at once, in this process."""

    def submit(self, fn: Callable[..., Line | None], /, *args: object, **kwargs: object) -> "Future[Line | None]":
        """The future of what was done."""
        future: Future[Line | None] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def rates(row: Row, compute: Compute, steps: int) -> dict[str, float]:
    """Steps a second: of a bare training loop, and of a walk that settles every move in two steps."""
    task = row.load()
    ends = [train(task, seed, compute, epochs=1e-9) for seed in (0, 1)]
    workspace = Workspace(task, compute)
    optimizer = torch.optim.SGD(workspace.model.parameters(), 1e-3)
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            began = clock(workspace.device)
        workspace.backward(workspace.loss())
        optimizer.step()
    bare = steps / (clock(workspace.device) - began)
    walk = LLPF(min_steps=2, max_steps=2, repairs=0)
    path = find_path(*ends, task, walk, max_loss=1e3, lr=1e-3, budget=steps, sample=64, points=1, compute=compute)
    return {"bare": bare, "walk": (path.cost.gradient_steps or 0) / path.cost.spent["walking"].seconds}


def clock(device: torch.device) -> float:
    """The time, once the device's queue is empty."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


def report(lines: Sequence[Line]) -> str:
    """The pairs so far."""
    head = ("network", "way", "pair", "steps", "line", "maximum", "goal", "length", "connected", "walking, s", "all, s")
    return table(head, [
        (
            line.task, line.way, f"{line.pair[0]}-{line.pair[1]}", str(line.steps), f"{line.line:.3g}",
            f"{line.maximum:.4g}", f"{line.goal:.3g}", f"{line.length:.2f}", "yes" if line.connected else "no",
            f"{line.seconds['walking']:.0f}", f"{sum(line.seconds.values()):.0f}",
        )
        for line in lines
    ])  # fmt: skip


def pack(plan: Plan) -> None:
    """The trained networks, the smallest first, in as many files as results may still consist of.

    A network may be spread over several files; one that does not fit as a whole is left out.
    """
    boxes: list[dict[str, torch.Tensor]] = []
    most = FILES - sum(place.is_file() for place in plan.out.iterdir())
    for place in sorted(plan.work.glob("*/[0-9].pt"), key=lambda place: place.stat().st_size):
        narrow = partial(half, keep=place.stat().st_size <= SMALL)
        loaded = torch.load(place, weights_only=True)
        trial = filled(boxes, {f"{place.parent.name}/{place.stem}/{k}": narrow(t) for k, t in loaded.items()})
        if len(trial) <= most:
            boxes = trial
        else:
            print(f"{place.parent.name}/{place.name} does not fit in the results", flush=True)
    for i, box in enumerate(boxes):
        save_file(box, plan.out / f"ends-{i}.safetensors")


def filled(boxes: Sequence[dict[str, torch.Tensor]], more: Mapping[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Boxes with more tensors, a new one begun where the last one is full."""
    grown = [dict(box) for box in boxes]
    for name, tensor in more.items():
        if not grown or size(grown[-1]) + size({name: tensor}) > LARGEST:
            grown.append({})
        grown[-1][name] = tensor
    return grown


def half(tensor: torch.Tensor, keep: bool = False) -> torch.Tensor:
    """A tensor as results have it."""
    return (tensor.to(torch.bfloat16) if tensor.is_floating_point() and not keep else tensor).contiguous().clone()


def size(box: Mapping[str, torch.Tensor]) -> int:
    """Bytes of tensors with their names."""
    return sum(t.nbytes + 200 + len(name) for name, t in box.items())


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9, help="of everything")
    parser.add_argument("--work", type=Path, default=Path("gpu-work"), help="folder of networks and runs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--at-once", type=int, default=12, help="processes, 1 for none beside this one [%(default)s]")
    parser.add_argument("--steps", type=int, default=100, help="of the loops that rates are taken of [%(default)s]")
    parser.add_argument("--tasks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="TASK")
    parser.add_argument("--epochs", type=float, help="of all ends [see the source]")
    parser.add_argument("--budget", type=int, help="gradient steps of every search [2000 or a network's own]")
    parser.add_argument("--max-loss", type=float, help="the goal [the task's tolerance above the worse end]")
    parser.add_argument("--width", type=float, help="of all networks [their own]")
    parser.add_argument("--subset", type=int, help="training images [all]")
    return parser.parse_args(arguments)


def planned(asked: argparse.Namespace) -> Plan:
    """What the command line asks for; what it says of all networks stands above what one has of its own."""
    told = {"budget": asked.budget, "max_loss": asked.max_loss}
    own = {name: value for name, value in told.items() if value is not None}
    networks = {
        task: replace(
            NETWORKS[task], epochs=asked.epochs or NETWORKS[task].epochs, options=own or NETWORKS[task].options
        )
        for task in asked.tasks
    }
    given = {"width": asked.width, "subset": asked.subset}
    return Plan(
        asked.out, asked.work, Compute(asked.device, asked.precision, channels_last=True),
        SearchOptions(budget=2000, points=2), {k: v for k, v in given.items() if v is not None}, networks,
    )  # fmt: skip


def prepare() -> None:
    """Settings of every process."""
    torch.backends.cudnn.benchmark = True
    torch.set_num_threads(1)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    plan, deadline = planned(asked), Deadline(asked.minutes)
    plan.out.mkdir(parents=True, exist_ok=True)
    prepare()
    try:
        (first, _), *_ = plan.rows(asked.tasks[0])
        found = rates(first, plan.compute, asked.steps)
        write_json(plan.out / "rates.json", {"machine": machine(plan.compute.resolve()), first.task: found})
        print(f"{first.task}: {found['bare']:.1f} bare steps a second, {found['walk']:.1f} of a walk", flush=True)
    except (LLPFError, RuntimeError) as error:
        print(f"no rate was taken, {type(error).__name__}: {error}", flush=True)
    pool = Here() if asked.at_once == 1 else ProcessPoolExecutor(asked.at_once, get_context("spawn"), prepare)
    with pool:
        work_down(plan, pool, asked.at_once, deadline)
    print(report(read_lines(plan.lines)), flush=True)
    pack(plan)


if __name__ == "__main__":
    main()
