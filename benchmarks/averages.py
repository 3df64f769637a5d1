"""What alignment, REPAIR and a softmax temperature make of the average of two networks that were trained apart.

Of every pair four lines are measured at eleven places: straight and aligned (weight matching), without and with REPAIR
of the points between the ends. Medians over the pairs; a calibrated loss has the temperature T that is best at its
point. Losses are cross-entropies of all training data.

    LLPF_DATA=FOLDER python benchmarks/averages.py --networks digits/mlp mnist/lenet5
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from matching import mnist_mlp
from provenance import add_table, publish, stamp
from shared import add_cache, table, trained

from llpf_plugin import Compute, Task, align, load_task
from llpf_plugin.evaluation import measure_point, repair_activations
from llpf_plugin.geometry import Weights, coordinates, lerp, select
from llpf_plugin.quality import Calibrated, calibrated_losses
from llpf_plugin.workspace import Workspace

COMPUTE, SUBSET = Compute("cpu"), 4000
POINTS = 10
"""Sub-segments of a line; an even number, so that the middle is a place."""

NETWORKS: Mapping[str, Callable[[], Task]] = {
    "digits/mlp": partial(load_task, "digits/mlp"),
    "mnist/mlp, 64 wide": partial(mnist_mlp, 64, SUBSET),
    "mnist/mlp, 128 wide": partial(mnist_mlp, 128, SUBSET),
    "mnist/lenet5": partial(load_task, "mnist/lenet5", {"subset": SUBSET}),
    "digits/transformer": partial(load_task, "digits/transformer"),
    "digits/resnet": partial(load_task, "digits/resnet"),
}
"""Without normalization, with LayerNorm, with BatchNorm; images of MNIST are the first 4,000 of a fixed shuffle."""

LINES = ("straight", "straight, REPAIR", "aligned", "aligned, REPAIR")


@dataclass(frozen=True)
class Line:
    """One line of one pair.

    Attributes:
        losses: cross-entropies at its places, both ends included.
        accuracy: of its middle, on test data.
    """

    losses: Sequence[Calibrated]
    accuracy: float

    @property
    def middle(self) -> Calibrated:
        """At half of the line."""
        return self.losses[len(self.losses) // 2]

    def barrier(self, calibrated: bool) -> float:
        """``max L(t) − ½(L(0) + L(1))`` (Ainsworth et al.)."""
        losses = [one.loss if calibrated else one.plain for one in self.losses]
        return max(losses) - (losses[0] + losses[-1]) / 2


def measured(workspace: Workspace, a: Weights, b: Weights, repair: bool) -> Line:
    """The line from ``a`` to ``b``, its points corrected or as they are."""

    def point(t: float) -> Weights:
        merged = lerp(a, b, t)
        return repair_activations(workspace, a, b, merged, t).weights if repair else merged

    points = [point(i / POINTS) for i in range(POINTS + 1)]
    middle = measure_point(workspace, points[POINTS // 2], None, ("test",))
    return Line(calibrated_losses(workspace, points, workspace.task.train), middle.test_accuracy or 0.0)


def lines(task: Task, ends: Sequence[Weights]) -> dict[str, Line]:
    """All lines of one pair."""
    workspace, names = Workspace(task, COMPUTE), list(coordinates(task.model))
    a, b, aligned = (select(w, names) for w in (*ends, align(*ends, task).weights))
    found = [measured(workspace, a, end, repair) for end in (b, aligned) for repair in (False, True)]
    return dict(zip(LINES, found, strict=True))


def rows(network: str, pairs: Sequence[Mapping[str, Line]]) -> list[tuple[str, ...]]:
    """Of one network: its worse end, and one row for each kind of line."""
    ends = [max((pair[LINES[0]].losses[i] for i in (0, -1)), key=lambda one: one.plain) for pair in pairs]
    worse = (f"{median(e.plain for e in ends):.4f}", f"{median(e.loss for e in ends):.4f}")
    found: list[tuple[str, ...]] = [(f"{network}: worse end", *worse, "", "", "", "")]
    columns: tuple[tuple[Callable[[Line], float], str], ...] = (
        (lambda line: line.middle.plain, ".4f"), (lambda line: line.middle.loss, ".4f"),
        (lambda line: line.middle.temperature, ".2f"), (lambda line: line.accuracy, ".2%"),
        (lambda line: line.barrier(False), ".4f"), (lambda line: line.barrier(True), ".4f"),
    )  # fmt: skip
    for name in LINES:
        cells = (f"{median(value(pair[name]) for pair in pairs):{form}}" for value, form in columns)
        found.append((f"{network}: {name}", *cells))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--pairs", type=int, default=3)
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    head = ("middle of the line", "train", "calibrated", "T", "test accuracy", "barrier", "barrier, calibrated")
    found = []
    for network in asked.networks:
        task, stem = NETWORKS[network](), "averages_" + network.replace("/", "_").replace(", ", "_").replace(" ", "_")
        pairs = [
            [trained(task, asked.cache / f"{stem}_{seed}.pt", seed, COMPUTE) for seed in (2 * pair, 2 * pair + 1)]
            for pair in range(asked.pairs)
        ]
        found += rows(network, [lines(task, ends) for ends in pairs])
    publish(table(head, found), asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
