"""Train endpoints to connect: one checkpoint a seed, all of one task.

python examples/train_pair.py digits/resnet -o pair
python examples/train_pair.py cifar10/resnet8 -t subset=4000 --seeds 0 1 -o pair
llpf-merge pair/seed0.pt pair/seed1.pt --task cifar10/resnet8 -t subset=4000 --max-loss 0.15
"""

import argparse
from pathlib import Path

import torch

from llpf_plugin import Compute, load_task
from llpf_plugin.evaluation.point import score
from llpf_plugin.files import atomic_write
from llpf_plugin.training import train
from llpf_plugin.workspace import Gradient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a built-in task, file.py:function or module:function")
    parser.add_argument("-t", "--task-arg", action="append", default=[], metavar="KEY=VALUE", help="for the task")
    parser.add_argument("-o", "--out", type=Path, default=Path("pair"), help="folder of the checkpoints")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=float, help="default: the task's recipe")
    parser.add_argument("--lr", type=float, help="peak learning rate")
    parser.add_argument("--weight-decay", type=float)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    arguments = dict(pair.split("=", 1) for pair in given.task_arg)
    compute = Compute(given.device)
    for seed in given.seeds:
        task = load_task(given.task, arguments)
        say = lambda step, steps, loss, seed=seed: print(f"\rseed {seed}: step {step}/{steps}  loss {loss:.4f}", end="")  # noqa: E731
        state = train(task, seed, compute, given.epochs, given.lr, given.weight_decay, progress=say)
        place = given.out / f"seed{seed}.pt"
        atomic_write(
            place, lambda target, state=state, seed=seed: torch.save({"state_dict": state, "seed": seed}, target)
        )
        gradient = Gradient(task, compute)
        words = [
            f"{name} {score(gradient, data)}" for name in ("train", "test") if (data := getattr(gradient.task, name))
        ]
        print(f"\r{place}: " + "  ".join(words))


if __name__ == "__main__":
    main()
