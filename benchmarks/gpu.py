"""Rows of the paper on one GPU: `gpu.sh` runs this. Networks are gone through in the order given, until time is over.

Each network is first calibrated (steps of a bare training loop), its ends are trained by a shortened recipe, connected
and measured as `reproduce.py` does it, and its line is kept; so are its ends, in bfloat16, as far as they fit.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from provenance import machine
from reproduce import append
from reproduction import Deadline, Line, Row, one_pair, read_lines
from safetensors.torch import save_file
from shared import table

from llpf_plugin import Compute, load_task
from llpf_plugin.errors import InterruptedRun, LLPFError
from llpf_plugin.files import write_json
from llpf_plugin.search import SearchOptions
from llpf_plugin.workspace import Workspace

EPOCHS = {
    "cifar10/vgg11": 15, "cifar10/resnet18": 15, "cifar10/resnet20": 20, "cifar10/cct2": 30,
    "cifar10/efficientnet-b0": 15, "cifar10/densenet": 10, "cifar10/dla": 10,
}  # fmt: skip
"""The networks in the order in which they are worth the time, and the epochs of their ends."""

FILES, LARGEST = 8, 16 * 2**20
"""Files at most that results may consist of, and bytes of each."""

WARM_UP, STEPS = 10, 50
"""Steps of the bare loop before it is timed, and while it is."""


@dataclass(frozen=True)
class Plan:
    """What is done with every network.

    Attributes:
        out: the folder of the results.
        work: the folder of networks and runs.
        compute: device and precision.
        options: of the search.
        arguments: of every task.
    """

    out: Path
    work: Path
    compute: Compute
    options: SearchOptions
    arguments: Mapping[str, object]

    def row(self, task: str, epochs: float) -> Row:
        """What is to be reproduced of a network."""
        return Row(task, self.arguments, "adaptive", epochs, self.options)

    @property
    def lines(self) -> Path:
        """The file of the lines."""
        return self.out / "lines.jsonl"


def work_down(plan: Plan, epochs: Mapping[str, float], deadline: Deadline) -> None:
    """Network after network; one that fails is told of and does not keep the others."""
    rates: dict[str, float] = {}
    for task, own in epochs.items():
        row = plan.row(task, own)
        if any(row.has(line) for line in read_lines(plan.lines)):
            continue
        try:
            rates[task] = bare_rate(row, plan.compute)
            write_json(plan.out / "rates.json", {"machine": machine(plan.compute.resolve()), "bare": rates})
            print(f"{task}: {rates[task]:.1f} bare steps a second", flush=True)
            append(plan.lines, one_pair(row, (0, 1), plan.work, plan.compute, deadline, dense=True))
        except InterruptedRun:
            print(f"the time was over within {task}", flush=True)
            break
        except (LLPFError, RuntimeError) as error:
            print(f"{task} failed: {type(error).__name__}: {error}", flush=True)
    print(report(read_lines(plan.lines), rates), flush=True)


def bare_rate(row: Row, compute: Compute) -> float:
    """Steps a second of plain training, on the network, batches, precision and layout that the walk has."""
    workspace = Workspace(load_task(row.task, row.arguments), compute)
    optimizer = torch.optim.SGD(workspace.model.parameters(), 1e-3)
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            began = clock(workspace.device)
        workspace.backward(workspace.loss())
        optimizer.step()
    return STEPS / (clock(workspace.device) - began)


def clock(device: torch.device) -> float:
    """The time, once the device's queue is empty."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


def report(lines: Sequence[Line], rates: Mapping[str, float]) -> str:
    """The networks so far, and what a step of the walk costs beside a bare one."""
    head = ("network", "steps", "maximum", "length", "connected", "walking, s", "steps/s", "of bare", "measuring, s")
    rows = []
    for line in lines:
        rate = line.steps / max(line.seconds["walking"], 1e-9)
        rows.append((
            line.task, str(line.steps), f"{line.maximum:.4g}", f"{line.length:.2f}", "yes" if line.connected else "no",
            f"{line.seconds['walking']:.1f}", f"{rate:.1f}",
            f"{rate / rates[line.task]:.0%}" if line.task in rates else "–", f"{line.seconds['measuring']:.1f}",
        ))  # fmt: skip
    return table(head, rows)


def pack(plan: Plan) -> None:
    """The trained networks in bfloat16, the smallest first, in as many files as results may still consist of."""
    room = FILES - sum(place.is_file() for place in plan.out.iterdir())
    ends = sorted(plan.work.glob("*/[0-9].pt"), key=lambda place: place.stat().st_size)
    box: dict[str, torch.Tensor] = {}
    for place in ends:
        own = {
            f"{place.parent.name}/{place.stem}/{k}": half(t) for k, t in torch.load(place, weights_only=True).items()
        }
        if box and size(box) + size(own) > LARGEST:
            room, box = _written(plan, room, box), {}
        if room > 0 and size(own) <= LARGEST:
            box |= own
        else:
            print(f"{place.parent.name}/{place.name} does not fit in the results", flush=True)
    _written(plan, room, box)


def _written(plan: Plan, room: int, box: Mapping[str, torch.Tensor]) -> int:
    """Write a file of networks if there is one, and say how many more there may be."""
    if not box or room <= 0:
        return room
    save_file(dict(box), plan.out / f"ends-{room}.safetensors")
    return room - 1


def half(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as results keep it."""
    return (tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor).contiguous().clone()


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
    parser.add_argument("--tasks", nargs="+", choices=list(EPOCHS), default=list(EPOCHS), metavar="TASK")
    parser.add_argument("--epochs", type=float, help="of all ends [see the source]")
    parser.add_argument("--budget", type=int, default=2000, help="gradient steps of a search [%(default)s]")
    parser.add_argument("--max-loss", type=float, help="the goal [the task's tolerance above the worse end]")
    parser.add_argument("--sample", type=int, default=5000, help="images that a path is judged by [%(default)s]")
    parser.add_argument("--width", type=float, help="of all networks [their own]")
    parser.add_argument("--subset", type=int, help="training images [all]")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = options(arguments)
    torch.backends.cudnn.benchmark = True
    deadline = Deadline(asked.minutes)
    search = SearchOptions(asked.max_loss, budget=asked.budget, sample=asked.sample, points=2)
    given = {"width": asked.width, "subset": asked.subset}
    plan = Plan(
        asked.out, asked.work, Compute(asked.device, asked.precision, channels_last=True), search,
        {name: value for name, value in given.items() if value is not None},
    )  # fmt: skip
    asked.out.mkdir(parents=True, exist_ok=True)
    work_down(plan, {task: asked.epochs or EPOCHS[task] for task in asked.tasks}, deadline)
    pack(plan)


if __name__ == "__main__":
    main()
