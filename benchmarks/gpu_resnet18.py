"""Two ResNet18 on CIFAR-10, trained from two seeds and joined by LLPF, at both paces.

Everything is kept in ``--folder``. Each command takes minutes on a GPU; what is done is not done again, and ``connect``
stops after ``--minutes`` and goes on where it stood when it is started again.

    python benchmarks/gpu_resnet18.py train --seed 0
    python benchmarks/gpu_resnet18.py train --seed 1
    python benchmarks/gpu_resnet18.py bare
    python benchmarks/gpu_resnet18.py connect --pace adaptive
    python benchmarks/gpu_resnet18.py connect --pace fixed
    python benchmarks/gpu_resnet18.py report
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from shared import SCHEDULES, machine, random_resnet18, table

from llpf_plugin import Compute, Settings, Task, find_path, load_task
from llpf_plugin.errors import InterruptedRun, LLPFError
from llpf_plugin.evaluation.point import evaluate
from llpf_plugin.files import write_json
from llpf_plugin.geometry.weights import Weights, coordinates
from llpf_plugin.quality import Quality
from llpf_plugin.runs.folder import RunFolder
from llpf_plugin.search.find import Search
from llpf_plugin.search.progress import Callback
from llpf_plugin.training import train
from llpf_plugin.workspace import Gradient

SEEDS = (0, 1)
PACES = {"adaptive": "adaptive", "fixed": str(SCHEDULES / "resnet18-coarse.yaml")}


class Clock(Callback):
    """Counts the time and the gradient steps of ticks, says how far the walk is, and stops it in time.

    Ticks are timed with all that the loop does for them: keeping knots, dropping superfluous ones, saving.
    """

    def __init__(self, minutes: float) -> None:
        self.deadline = time.monotonic() + 60 * minutes
        self.walked, self.steps = 0.0, 0
        self._mark: tuple[float, int] | None = None
        self._said = 0.0

    def on_start(self, search: Search) -> None:
        """Ticks begin."""
        self._mark = (time.monotonic(), search.gradient.steps)

    def on_tick(self, search: Search, report: Mapping[str, Any]) -> None:
        """Add the tick that has ended."""
        now = time.monotonic()
        if self._mark is not None:
            self.walked += now - self._mark[0]
            self.steps += search.gradient.steps - self._mark[1]
        self._mark = (now, search.gradient.steps)
        search.stop = now > self.deadline
        if now - self._said > 10:
            self._said = now
            print(
                f"{report['phase']}, tick {report['tick']}: {search.gradient.steps} steps, "
                f"loss {report['settled_loss']:.4f}, distance to go {report['gap']:.2f}", flush=True,
            )  # fmt: skip

    def on_measure(self, search: Search, done: int, total: int) -> None:
        """Measuring is no tick."""
        self._mark = None
        search.stop = time.monotonic() > self.deadline


def the_task(asked: argparse.Namespace) -> Task:
    """ResNet18 on CIFAR-10, or on random images."""
    if asked.random:
        task = random_resnet18(asked.width, asked.subset or 45_000, asked.batch_size)
    else:
        task = load_task("cifar10/resnet18", {"width": asked.width, "subset": asked.subset})
    return replace(task, defaults=replace(task.defaults, batch_size=asked.batch_size))


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
    gradient = Gradient(task, compute)
    scores, _ = evaluate(gradient, weights, {"train": gradient.task.train, "test": gradient.task.test})
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
    settings = Settings(
        max_loss=asked.max_loss, budget=asked.budget, pace=PACES[asked.pace], sample=asked.sample,
        batch_size=asked.batch_size,
    )  # fmt: skip
    task, compute = the_task(asked), the_compute(asked)
    a, b = (torch.load(asked.folder / f"seed{seed}.pt", weights_only=True) for seed in SEEDS)
    start_run(run, task, {"settings": settings.to_dict(), "compute": asdict(compute), "width": asked.width}, a, b)
    timer = Clock(asked.minutes)
    try:
        path = find_path(
            a, b, task, settings, compute=compute, knots=run.knots, callbacks=(timer, run), resume=run.load()
        )
    except InterruptedRun:
        print(f"{asked.minutes:g} minutes are over; start the same command again to go on")
        remember(asked, timer, compute)
        return
    remember(asked, timer, compute)
    conclude(asked, path.quality)


def start_run(run: RunFolder, task: Task, wanted: Mapping[str, Any], a: Weights, b: Weights) -> None:
    """Begin a run in the folder, or make sure that the one there was asked for the same."""
    if run.exists:
        run.check_same(wanted)
        return
    moving = set(coordinates(task.model))
    run.create(wanted, *({k: t for k, t in w.items() if k not in moving} for w in (a, b)))


def remember(asked: argparse.Namespace, timer: Clock, compute: Compute) -> None:
    """Add this session's ticks to those of the sessions before."""
    place = asked.folder / f"{asked.pace}-sessions.json"
    session = {"walked": timer.walked, "steps": timer.steps, "peak": peak(compute.resolve())}
    write_json(place, {"sessions": [*read(place).get("sessions", []), session]})


def conclude(asked: argparse.Namespace, quality: Quality) -> None:
    """Keep the verdict and the cost of a finished path."""
    path = quality.path
    result = {
        "outcome": path.outcome.name if path.outcome else None, "steps": path.cost["gradient_steps"],
        "minutes": path.cost["seconds"] / 60, "knots": len(path.knots), **quality.summary(),
    }  # fmt: skip
    write_json(asked.folder / f"{asked.pace}.json", result)
    print(*(f"{c['name']}: {c['sentence']}" for c in result["criteria"]), sep="\n")


def report(asked: argparse.Namespace) -> None:
    """Print what has been measured so far."""
    found = {name: read(asked.folder / f"{name}.json") for name in ("seed0", "seed1", "bare", *PACES)}
    if plain := found["bare"]:
        print(f"{plain['machine']}; bare training {plain['rate']:.1f} steps/s, peak {memory([plain['peak']])}")
    for name in ("seed0", "seed1"):
        if end := found[name]:
            print(
                f"{name}: trained in {end['minutes']:.1f} minutes to training loss {end['train']['loss']:.4f}, "
                f"test accuracy {end['test']['accuracy']:.2%}"
            )
    head = (
        "pace", "outcome", "minutes", "steps", "steps/s", "of bare", "dense maximum", "length ratio", "connected",
        "peak memory",
    )  # fmt: skip
    rows = [row(asked, pace, path, found["bare"]) for pace in PACES if (path := found[pace])]
    print("", table(head, rows), sep="\n")


def row(asked: argparse.Namespace, pace: str, path: Mapping[str, Any], plain: Mapping[str, Any]) -> tuple[str, ...]:
    """One pace's line of the report."""
    sessions = read(asked.folder / f"{pace}-sessions.json")["sessions"]
    walked = sum(s["walked"] for s in sessions)
    rate = sum(s["steps"] for s in sessions) / walked if walked else float("nan")
    return (
        pace, str(path["outcome"]), f"{path['minutes']:.1f}", str(path["steps"]), f"{rate:.1f}",
        f"{rate / plain['rate']:.0%}" if plain else "–", f"{path['maximum']:.4f}", f"{path['length_ratio']:.2f}",
        "yes" if path["connected"] else "no", memory([s["peak"] for s in sessions]),
    )  # fmt: skip


def memory(peaks: Sequence[int | None]) -> str:
    """The largest peak in words."""
    known = [p for p in peaks if p is not None]
    return f"{max(known) / 2**30:.2f} GiB" if known else "–"


def read(place: Path) -> dict[str, Any]:
    """A JSON file, empty if there is none."""
    return json.loads(place.read_text()) if place.is_file() else {}


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
    command.add_argument("--minutes", type=float, default=9, help="stop after so many")
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
