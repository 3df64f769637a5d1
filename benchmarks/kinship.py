"""What the likeness of two networks' weights says of their average: pairs of every kinship, before and after alignment.

python benchmarks/kinship.py --table benchmarks/results/kinship.md

Networks are trained on scikit-learn's digits, and on 2,500 images of CIFAR-10: from two seeds; from one initialisation
on batches in two orders; finetuned from one trained network, gently and roughly, on all data and on random halves. The
likeness is the mean of the tensors' centred cosines, weighted by their sizes (`llpf_plugin.preflight.likeness`).
Running statistics are estimated again.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from provenance import add_table, publish, stamp
from shared import table

from llpf_plugin import Task, TensorData, align, load_task
from llpf_plugin.evaluation import evaluate
from llpf_plugin.geometry import Weights, coordinates, lerp
from llpf_plugin.preflight import compared, likeness
from llpf_plugin.training import train
from llpf_plugin.workspace import Compute, Workspace

TASKS: dict[str, tuple[str, dict[str, int]]] = {
    "mlp 64": ("digits/mlp", {}),
    "mlp 512": ("digits/mlp", {"width": 512, "depth": 2}),
    "resnet 16": ("digits/resnet", {}),
    "resnet 64": ("digits/resnet", {"width": 64}),
    "transformer 32": ("digits/transformer", {}),
    "cifar resnet8": ("cifar10/resnet8", {"subset": 2500}),
}


def continued(task: Task, start: Weights, seed: int, epochs: float, lr: float, decay: float = 0.0) -> Weights:
    """A network after some epochs from given weights, on batches of its own, with momentum."""
    workspace = Workspace(task, Compute("cpu"), seed)
    workspace.model.load_state_dict(start)
    optimizer = torch.optim.SGD(workspace.model.parameters(), lr, 0.9, weight_decay=decay)
    for _ in range(max(1, int(epochs * len(task.train) / workspace.batch_size))):
        loss = workspace.loss()
        workspace.backward(loss)
        optimizer.step()
    return {k: t.clone() for k, t in workspace.model.state_dict().items()}


def half(task: Task, seed: int, which: int) -> Task:
    """A task with a random half of the training data."""
    data = task.train
    assert isinstance(data, TensorData)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    own = order[which * len(data) // 2 : (which + 1) * len(data) // 2]
    return replace(task, train=TensorData(data.inputs[own], data.targets[own]))


def pairs(
    name: str, arguments: dict[str, int], seed: int, epochs: float | None
) -> Iterator[tuple[str, Weights, Weights]]:
    """Pairs of every kinship."""
    task = load_task(name, arguments)
    lr, own = task.recipe.lr, epochs or task.recipe.epochs
    a, other = (train(load_task(name, arguments), s, Compute("cpu"), epochs) for s in (2 * seed, 2 * seed + 1))
    yield "gently finetuned", a, continued(task, a, 1, 2, lr / 20)
    yield "finetuned, siblings", continued(task, a, 1, 5, lr / 4), continued(task, a, 2, 5, lr / 4)
    yield "finetuned, halves", *(continued(half(task, seed, i), a, 1, own, lr / 2) for i in (0, 1))
    yield "roughly finetuned", continued(task, a, 1, own, lr), continued(task, a, 2, own, lr)
    torch.manual_seed(seed)
    start = task.build().state_dict() if task.build else {}
    for decay in (0.0, 0.005, 0.01):
        yield (
            f"one initialisation, weight decay {decay:g}",
            *(continued(task, start, s, own, lr / 2, decay) for s in (1, 2)),
        )
    yield "independent", a, other


def scores(task: Task, weights: Weights) -> tuple[float, float]:
    """Training loss and test accuracy of a point, with running statistics estimated again."""
    found, _ = evaluate(Workspace(task, Compute("cpu")), weights, {"train": task.train, "test": task.test})
    train, test = found["train"], found["test"]
    assert train is not None and test is not None and test.accuracy is not None
    return train.loss, test.accuracy


def measured(label: str, kind: str, a: Weights, b: Weights) -> list[list[str]]:
    """Rows of one pair: as it is, and aligned."""
    task, rows = load_task(*TASKS[label]), []
    for how in ("", ", aligned"):
        b = align(a, b, task).weights if how else b
        ends, middle = [scores(task, w) for w in (a, b)], scores(task, lerp(a, b, 0.5))
        worse, lower = max(loss for loss, _ in ends), min(accuracy for _, accuracy in ends)
        found = likeness(compared(a, b, coordinates(task.model)))
        cells = (f"{found:.3f}", f"{worse:.3g}", f"{middle[0]:.3g}", f"{lower:.1%}", f"{middle[1]:.1%}")
        rows.append([f"{label}, {kind}{how}", *cells])
        print(rows[-1], flush=True)
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS)[:-1], choices=TASKS)
    parser.add_argument("--seeds", type=int, default=2, help="pairs of each kind")
    parser.add_argument("--epochs", type=float, help="of training [the recipe's]")
    add_table(parser)
    given = parser.parse_args(words)
    rows = [
        row
        for label in given.tasks
        for seed in range(given.seeds)
        for kind, a, b in pairs(*TASKS[label], seed, given.epochs)
        for row in measured(label, kind, a, b)
    ]
    rows.sort(key=lambda row: -float(row[1]))
    head = ["pair", "likeness", "loss, worse end", "of the average", "accuracy, worse end", "of the average"]
    publish(table(head, rows), given.table, words, [stamp()])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
