"""Train networks to connect: one checkpoint per seed, all of one task.

python examples/train_pair.py digits/resnet -o pair
python examples/train_pair.py cifar10/resnet8 -t subset=4000 --seeds 0 1 -o pair
llpf merge pair/seed0.pt pair/seed1.pt --task cifar10/resnet8 -t subset=4000 --max-loss 0.15
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from llpf_plugin import Compute, LLPFError, Task, load_task
from llpf_plugin.evaluation import Score, score
from llpf_plugin.files import atomic_write
from llpf_plugin.tasks import parse_arguments
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace


def checked(kind: type, holds: Callable[[float], bool], rule: str) -> Callable[[str], float]:
    """A parser of finite numbers that follow a rule."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and holds(value)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {rule}")
        return value

    return parse


SEED = checked(int, lambda number: number >= 0, "a whole number of at least 0")
ABOVE_ZERO = checked(float, lambda number: number > 0, "a number above 0")
DECAY = checked(float, lambda number: number >= 0, "a number of at least 0")


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; a wrong argument ends it with exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a built-in task, file.py:function or module:function")
    parser.add_argument("-t", "--task-arg", action="append", default=[], metavar="KEY=VALUE", help="for the task")
    parser.add_argument("-o", "--out", type=Path, default=Path("pair"), help="folder for the checkpoints [pair]")
    parser.add_argument("--seeds", type=SEED, nargs="+", default=[0, 1], metavar="N", help="one network each [0 1]")
    parser.add_argument("--epochs", type=ABOVE_ZERO, help="passes over the training data [the task's]")
    parser.add_argument("--lr", type=ABOVE_ZERO, help="peak learning rate [the task's]")
    parser.add_argument("--weight-decay", type=DECAY, help="on all parameters [the task's]")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps [the first accelerator there is]")
    given = parser.parse_args(arguments)
    try:
        given.arguments = parse_arguments(given.task_arg)
    except LLPFError as error:
        parser.error(f"-t: {error}")
    return given


def train_one(given: argparse.Namespace, task: Task, seed: int, compute: Compute) -> str:
    """Train the network of one seed and write its checkpoint; the scores in words."""

    def say(step: int, steps: int, loss: float) -> None:
        print(f"\rseed {seed}: step {step}/{steps}  loss {loss:.4f}", end="", flush=True)

    state = train(task, seed, compute, given.epochs, given.lr, given.weight_decay, progress=say)
    place = given.out / f"seed{seed}.pt"
    atomic_write(place, lambda temporary: torch.save({"state_dict": state, "seed": seed}, temporary))
    workspace = Workspace(task, compute)
    splits = {name: getattr(workspace.task, name) for name in ("train", "test")}
    scores = {name: score(workspace, data) for name, data in splits.items() if data is not None}
    return f"{place}: " + "; ".join(f"{name} {in_words(found)}" for name, found in scores.items())


def in_words(found: Score) -> str:
    """Loss and, where the task counts correct answers, accuracy."""
    return f"loss {found.loss:.4f}" + ("" if found.accuracy is None else f", accuracy {found.accuracy:.2%}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a network per seed; the exit code."""
    given = options(arguments)
    try:
        compute = Compute(given.device)
        compute.resolve()
        for seed in given.seeds:
            print(f"\r{train_one(given, load_task(given.task, given.arguments), seed, compute)}")
    except LLPFError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
