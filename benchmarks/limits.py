"""Appendices K and L of the paper in small: how far down M2O goes beside training, and whether sharp minima connect."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from modes import mode
from pairs import yes
from provenance import stamp
from shared import table

from llpf_plugin import LLPF, Compute, Task, find_path, load_task, walk_to_origin
from llpf_plugin.evaluation import train_loss
from llpf_plugin.files import write_json
from llpf_plugin.geometry import Weights, coordinates, lerp, select, variance
from llpf_plugin.workspace import Workspace

TASKS = {"digits/resnet": "conv1.weight", "digits/transformer": "embed.weight"}
"""Tasks of appendix K, and the layer whose variance is looked at: the first one."""

DECAYS = (0.0, 1e-4, 5e-4, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
"""Weight decays of the trained modes."""

GOAL, BUDGET = 0.2, 2000
"""Training loss at which M2O stops, and gradient steps that it may take."""

RATIOS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Lengths of perturbations, as parts of each tensor's norm."""

DIRECTIONS = 10
"""Random directions that a sharpness profile averages over."""


def limits(cache: Path, pairs: int, figure: Path, json: Path | None) -> str:
    """Both appendices: tables, and one figure."""
    descents = {name: descent(load_task(name), layer, cache) for name, layer in TASKS.items()}
    profiles, paths = sharpness(load_task("digits/resnet"), cache, pairs)
    if json:
        write_json(json, {"descents": descents, "profiles": profiles, "paths": paths, "measured": stamp()})
    draw(descents, profiles, figure)
    rows = [(kind, *(f"{loss:.3g}" for loss in losses)) for kind, losses in profiles.items()]
    profile_table = table(("training loss at", *(f"{r:g}" for r in RATIOS)), rows)
    rows = [(str(p["pair"]), f"{p['maximum']:.4f}", str(p["steps"]), yes(p["connected"])) for p in paths]
    path_table = table(("sharp pair", "maximum", "steps", "three criteria"), rows)
    return "\n\n".join([*(descent_table(name, found) for name, found in descents.items()), profile_table, path_table])


def descent_table(name: str, found: Mapping[str, Any]) -> str:
    """Some points of M2O, and every trained mode."""
    rows = [("M2O", "–", f"{v:.3g}", f"{loss:.4f}") for v, loss in _few(found["walk"])]
    rows += [("trained", f"{wd:g}", f"{v:.3g}", f"{loss:.4f}") for wd, v, loss in found["trained"]]
    head = ("mode", "weight decay", "variance of the first layer", "training loss")
    return f"{name}: {found['steps']} gradient steps, {found['outcome']}\n\n{table(head, rows)}"


def descent(task: Task, layer: str, cache: Path) -> dict[str, Any]:
    """Variance of one layer and training loss, along M2O from a mode without weight decay and at trained modes."""
    workspace = Workspace(task, Compute("cpu"))
    trained = []
    for decay in DECAYS:
        weights = mode(task, 0, cache, decay)
        own = select(weights, list(coordinates(task.model)))
        trained.append((decay, variance(weights[layer]), train_loss(workspace, own)))
        print(f"{task.name}, weight decay {decay:g}: {trained[-1][2]:.4f}", flush=True)
    start = mode(task, 0, cache, 0.0)
    method = LLPF(exact_legs=False, repairs=0)
    path = walk_to_origin(start, task, method, max_loss=GOAL, budget=BUDGET, compute=Compute("cpu"))
    walk = []
    for row in path.quality.rows:
        here = lerp(path.knots[row.segment], path.knots[row.segment + 1], row.u)
        walk.append((variance(here[layer]), row.train))
    return {"trained": trained, "walk": walk, "steps": path.cost.gradient_steps, "outcome": path.outcome.name}


def sharpness(task: Task, cache: Path, pairs: int) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """The mean profile of the normal and the sharp modes, and the paths between pairs of sharp ones."""
    decay = task.recipe.weight_decay
    kinds = {"normal": (decay, False), "sharp": (0.0, True)}
    profiles = {
        kind: _mean([profile(task, mode(task, seed, cache, wd, sharp)) for seed in (0, 1)])
        for kind, (wd, sharp) in kinds.items()
    }
    paths = []
    for pair in range(pairs):
        a, b = (mode(task, 2 * pair + i, cache, 0.0, sharp=True) for i in (0, 1))
        path = find_path(a, b, task, LLPF(), max_loss=0.06, budget=3000, compute=Compute("cpu"), measure="exact")
        found = {"pair": pair, "maximum": path.quality.maximum, "steps": path.cost.gradient_steps}
        paths.append({**found, "connected": path.quality.connected})
        print(f"sharp pair {pair}: {paths[-1]}", flush=True)
    return profiles, paths


def profile(task: Task, weights: Weights) -> list[float]:
    """Mean training loss at random points around a mode, each tensor perturbed by a part of its own norm."""
    workspace = Workspace(task, Compute("cpu"))
    own = select(weights, list(coordinates(task.model)))
    losses = []
    for ratio in RATIOS:
        total = 0.0
        for direction in range(DIRECTIONS):
            rng = torch.Generator().manual_seed(direction)
            noise = {k: torch.randn(t.shape, generator=rng) for k, t in own.items()}
            there = {k: t + ratio * t.norm() * noise[k] / noise[k].norm() for k, t in own.items()}
            total += train_loss(workspace, there)
        losses.append(total / DIRECTIONS)
    return losses


def draw(descents: Mapping[str, Any], profiles: Mapping[str, Sequence[float]], place: Path) -> None:
    """One panel for each descent and one for the sharpness profiles."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(descents) + 1)
    for axes, (name, found) in zip(panels, descents.items(), strict=False):
        axes.plot(*zip(*found["walk"], strict=True), color="#1f6fb2", lw=1.2, label="M2O")
        _, variances, losses = zip(*found["trained"], strict=True)
        axes.plot(variances, losses, "o", color="#d9731a", label="trained, growing weight decay")
        axes.set(xscale="log", yscale="log", title=name, xlabel="variance of the first layer", ylabel="training loss")
        axes.legend(fontsize=8)
    for kind, losses in profiles.items():
        panels[-1].plot(RATIOS, losses, "o-", label=f"{kind} modes")
    panels[-1].set(yscale="log", title="sharpness", xlabel="length of the perturbation", ylabel="training loss")
    panels[-1].legend(fontsize=8)
    figure.savefig(place, dpi=110)


def _few(points: Sequence[tuple[float, float]], count: int = 8) -> list[tuple[float, float]]:
    """About ``count`` of the points, evenly spaced, both ends included."""
    step = max(1, (len(points) - 1) // (count - 1))
    return [*points[:-1:step], points[-1]]


def _mean(profiles: Sequence[Sequence[float]]) -> list[float]:
    return [sum(losses) / len(losses) for losses in zip(*profiles, strict=True)]
