"""Two ResNet18 on CIFAR-10, trained from two seeds and joined by LLPF, at both paces.

Everything is kept in ``--folder``. Each command takes minutes on a GPU; what is done is not done again, and ``connect``
stops after ``--minutes``; start it again to continue.

    python benchmarks/gpu_resnet18.py train --seed 0
    python benchmarks/gpu_resnet18.py train --seed 1
    python benchmarks/gpu_resnet18.py bare
    python benchmarks/gpu_resnet18.py connect --pace adaptive
    python benchmarks/gpu_resnet18.py connect --pace fixed
    python benchmarks/gpu_resnet18.py report
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from gpu_report import PACES, SEEDS, read, report
from provenance import machine, stamp
from shared import random_resnet18

from llpf_plugin import Compute, Quality, Task, find_path, load_task
from llpf_plugin.errors import InterruptedRun, LLPFError
from llpf_plugin.evaluation import evaluate
from llpf_plugin.files import write_json
from llpf_plugin.geometry import Weights, buffers
from llpf_plugin.records import Tick
from llpf_plugin.runs import Asked, RunFolder
from llpf_plugin.search import Callback, Searching, SearchOptions
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace


class Clock(Callback):
    """Counts the time and the gradient steps of ticks, says how far the walk is, and stops it in time.

    Ticks are timed with all that the loop does for them: keeping knots, dropping superfluous ones, saving.
    """

    def __init__(self, minutes: float) -> None:
        self.deadline = time.monotonic() + 60 * minutes
        self.walked, self.steps = 0.0, 0
        self._mark: tuple[float, int] | None = None
        self._said = 0.0

    def on_start(self, search: Searching) -> None:
        """Ticks begin."""
        self._mark = (time.monotonic(), search.workspace.steps)

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """Add the tick that has ended."""
        now = time.monotonic()
        if self._mark is not None:
            self.walked += now - self._mark[0]
            self.steps += search.workspace.steps - self._mark[1]
        self._mark = (now, search.workspace.steps)
        search.stop = now > self.deadline
        if now - self._said > 10:
            self._said = now
            print(
                f"{tick.phase}, tick {tick.tick}: {search.workspace.steps} steps, "
                f"loss {tick.settled_loss:.4f}, distance to go {tick.gap:.2f}", flush=True,
            )  # fmt: skip

    def on_measure(self, search: Searching, done: int, total: int) -> None:
        """The time that measuring takes does not count."""
        self._mark = None
        search.stop = time.monotonic() > self.deadline


def the_task(asked: argparse.Namespace) -> Task:
    """ResNet18 on CIFAR-10, or on random images."""
    if asked.random:
        task = random_resnet18(asked.width, asked.subset or 45_000, asked.batch_size)
    else:
        task = load_task("cifar10/resnet18", {"width": asked.width, "subset": asked.subset})
    recipe, defaults = (replace(of, batch_size=asked.batch_size) for of in (task.recipe, task.defaults))
    return replace(task, recipe=recipe, defaults=defaults)


def the_compute(asked: argparse.Namespace) -> Compute:
    return Compute(asked.device, asked.precision, channels_last=True)


def train_one(asked: argparse.Namespace) -> None:
    """Train one network, unless it is there."""
    place = asked.folder / f"seed{asked.seed}.pt"
    if place.is_file():
        print(f"{place} is there already")
        return
    task, compute = the_task(asked), the_compute(asked)
    start = time.monotonic()
    weights = train(task, asked.seed, compute, asked.epochs, progress=say)
    minutes = (time.monotonic() - start) / 60
    workspace = Workspace(task, compute)
    scores, _ = evaluate(workspace, weights, {"train": workspace.task.train, "test": workspace.task.test})
    asked.folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, place)
    result = {"minutes": minutes, **{split: asdict(score) for split, score in scores.items() if score is not None}}
    write_json(place.with_suffix(".json"), result)
    print(f"{place}: {result}")


def say(step: int, steps: int, loss: float) -> None:
    if step % 500 == 1 or step == steps:
        print(f"step {step} of {steps}, loss {loss:.4f}", flush=True)


def bare(asked: argparse.Namespace) -> None:
    """The rate of a plain training loop on the same network, batches, precision and layout."""
    compute = the_compute(asked)
    device = compute.resolve()
    task = the_task(asked).to(device)
    model = task.model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    half = compute.precision == "bfloat16"
    for step in range(asked.warm_up + asked.steps):
        if step == asked.warm_up:
            start = clock(device)
        images, targets = task.train.batch(asked.batch_size, 0, step)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = F.cross_entropy(model(images).float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    rate = asked.steps / (clock(device) - start)
    write_json(asked.folder / "bare.json", {"rate": rate, "peak": peak(device), "machine": machine(device)})
    print(f"bare training: {rate:.1f} steps/s")


def clock(device: torch.device) -> float:
    """The time, once the device's queue is empty."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


def peak(device: torch.device) -> int | None:
    """Bytes of tensors at the peak so far; a CPU keeps no count."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def connect(asked: argparse.Namespace) -> None:
    """Walk, or walk on, from seed 0 to seed 1."""
    run = RunFolder(asked.folder / asked.pace)
    if run.finished:
        print(f"{run.folder} holds a finished path")
        return
    method, task, compute = PACES[asked.pace], the_task(asked), the_compute(asked)
    options = SearchOptions(
        max_loss=asked.max_loss, budget=asked.budget, sample=asked.sample, batch_size=asked.batch_size
    )
    a, b = (torch.load(asked.folder / f"seed{seed}.pt", weights_only=True) for seed in SEEDS)
    wanted = Asked(
        "seed0.pt", "seed1.pt", task.name, {"width": asked.width}, method.name, method.settings(), options.to_json(),
        compute=asdict(compute),
    )  # fmt: skip
    start_run(run, task, wanted, a, b)
    timer = Clock(asked.minutes)
    try:
        path = find_path(
            a, b, task, method, **options.to_json(), compute=compute, knots=run.knots, callbacks=(timer, run),
            resume=run.load(),
        )  # fmt: skip
    except InterruptedRun:
        print(f"{asked.minutes:g} minutes are over; run the same command again to continue")
        remember(asked, timer, compute)
        return
    remember(asked, timer, compute)
    conclude(asked, path.quality)


def start_run(run: RunFolder, task: Task, wanted: Asked, a: Weights, b: Weights) -> None:
    """Begin a run in the folder, or make sure that the one there was asked for the same."""
    if run.exists:
        run.check_same(wanted)
        return
    names = buffers(task.model)
    run.create(wanted, *({k: w[k] for k in names} for w in (a, b)))


def remember(asked: argparse.Namespace, timer: Clock, compute: Compute) -> None:
    """Add this session's ticks to those of the sessions before."""
    place = asked.folder / f"{asked.pace}-sessions.json"
    session = {"walked": timer.walked, "steps": timer.steps, "peak": peak(compute.resolve())}
    write_json(place, {"sessions": [*read(place).get("sessions", []), session]})


def conclude(asked: argparse.Namespace, quality: Quality) -> None:
    """Keep the verdict and the cost of a finished path."""
    path = quality.path
    result = {
        "outcome": path.outcome.name if path.outcome else None, "steps": path.cost.gradient_steps,
        "minutes": path.cost.seconds / 60, "knots": len(path.knots), "maximum": quality.maximum,
        "length_ratio": path.length_ratio, "connected": quality.connected, "measured": stamp(quality.workspace.device),
    }  # fmt: skip
    write_json(asked.folder / f"{asked.pace}.json", result)
    print(*(f"{c.name}: {c.sentence}" for c in quality.criteria), sep="\n")


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("gpu-resnet18"), help="where everything is kept")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("float32", "tf32", "bfloat16"), default="bfloat16")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--subset", type=int, help="training images (default: all 45,000)")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--random", action="store_true", help="random images instead of CIFAR-10")
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("train", help="train one network")
    command.add_argument("--seed", type=int, choices=SEEDS, required=True)
    command.add_argument("--epochs", type=float, default=30)
    command.set_defaults(run=train_one)
    command = commands.add_parser("bare", help="time a plain training loop")
    command.add_argument("--steps", type=int, default=300)
    command.add_argument("--warm-up", type=int, default=30)
    command.set_defaults(run=bare)
    command = commands.add_parser("connect", help="join the two networks")
    command.add_argument("--pace", choices=sorted(PACES), required=True)
    command.add_argument("--max-loss", type=float, default=0.1)
    command.add_argument("--budget", type=int, default=40_000)
    command.add_argument("--sample", type=int, default=5000, help="training images that the path is measured on")
    command.add_argument("--minutes", type=float, default=9, help="stop after this many")
    command.set_defaults(run=connect)
    commands.add_parser("report", help="print what has been measured").set_defaults(run=report)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    torch.backends.cudnn.benchmark = True
    try:
        asked.run(asked)
    except LLPFError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
