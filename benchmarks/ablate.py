"""What each part of LLPF is worth: the walk without it, beside the whole; see `pairs`.

The parts are exchanged by composing methods: an order of layers is a value that `LLPF` is given, a walk without
spheres is one that corrects nothing, and a walk without settling has its solver's settling replaced.

    python benchmarks/ablate.py --task digits/resnet
    python benchmarks/ablate.py --task digits/mlp
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pairs import options, run

from llpf_plugin import LLPF, Task, layer_order
from llpf_plugin.llpf import Settled, SettleRule
from llpf_plugin.methods import Plan, Problem, Solver, Stretch
from llpf_plugin.order import phases
from llpf_plugin.workspace import Workspace

METHODS = (
    "whole",
    "all at once",
    "reversed stages",
    "layers",
    "layers by levels",
    "reversed layers",
    "no spheres",
    "no settling",
)


@dataclass(frozen=True)
class GivenPhases(LLPF):
    """LLPF in phases whose layers are given by name, whatever order data flow in."""

    phases: tuple[tuple[str, ...], ...] = ()  # type: ignore[assignment]


@dataclass(frozen=True)
class Unsettled(LLPF):
    """LLPF whose ticks only move and project; a mini-batch's loss is looked at for the record."""

    def bind(self, problem: Problem) -> Plan:
        """The walk's plan, its solvers with another settling."""
        plan = super().bind(problem)

        def solver(stretch: Stretch) -> Solver:
            walk: Any = plan.solver(stretch)
            walk.settle = look
            return walk

        return replace(plan, solver=solver)


@torch.no_grad()
def look(
    workspace: Workspace, optimizer: torch.optim.Optimizer, rule: SettleRule, reject_above: float = math.inf,
    on_the_spot: bool = False,
) -> Settled:  # fmt: skip
    """Settling that does nothing, and rejects no move, since nothing would bring the loss down again."""
    seen = float(workspace.loss())
    return Settled(1, seen, seen)


def variants(task: Task) -> Mapping[str, LLPF]:
    """LLPF in stages of the Follow-Data-Flow order, and without one part at a time."""
    inputs = task.example_inputs()
    fdf, levels = layer_order(task.model, inputs), layer_order(task.model, inputs, order="levels")
    stages = tuple(phase.layers for phase in phases(fdf, "stage"))
    backwards = replace(fdf, layers=fdf.layers[::-1])
    methods = (
        LLPF(phases="stage"),
        LLPF(phases="all"),
        GivenPhases(phases=stages[::-1]),
        LLPF(phases="layer"),
        LLPF(phases="layer", order=levels),
        LLPF(phases="layer", order=backwards),
        LLPF(phases="stage", correct="none"),
        Unsettled(phases="stage", repairs=0),
    )
    return dict(zip(METHODS, methods, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    run(options(__doc__, METHODS, arguments), variants, arguments)


if __name__ == "__main__":
    main()
