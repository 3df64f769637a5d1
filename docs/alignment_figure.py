"""The figure of alignment.md, lines from benchmarks/results/alignment.jsonl: ``python docs/alignment_figure.py``."""

import json
from pathlib import Path

import torch
from torch import nn

from llpf_plugin.alignment import match, symmetry
from llpf_plugin.report.style import BLUE, INK, MUTED, ORANGE, drawing, new_figure, save

ROOT = Path(__file__).parents[1]
WAYS = {"plain": (MUTED, ":"), "permutations": (ORANGE, "--"), "all symmetries": (BLUE, "-")}
SHOWN = ("digits/mlp, 64", "digits/transformer", "gpt2-untied")


def matrices() -> list[torch.Tensor]:
    """The first matrix of A, of a noisy copy with its units in another order, and of that copy aligned."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(10, 12), nn.GELU(), nn.Linear(12, 4))
    found = symmetry(model, torch.randn(3, 10))
    a = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    a["0.weight"] += 2 * torch.sin(torch.arange(120.0) / 9).reshape(12, 10)
    b = found.change(a, {group.name: torch.randperm(group.size)[None] for group in found.groups})
    b = {k: t + 0.15 * torch.randn_like(t) for k, t in b.items()}
    return [w["0.weight"] for w in (a, b, match(a, b, model, found).weights)]


def main() -> None:
    """Draw it."""
    lines = [json.loads(line) for line in (ROOT / "benchmarks/results/alignment.jsonl").read_text().splitlines()]
    with drawing():
        figure = new_figure((9.6, 4.6))
        upper, lower = figure.add_gridspec(2, 1, height_ratios=(1, 1.5), hspace=0.55)
        cells = upper.subgridspec(1, 3, wspace=0.6)
        for i, (name, matrix) in enumerate(zip(("A", "B", "B, aligned"), matrices(), strict=True)):
            axes = figure.add_subplot(cells[i])
            axes.imshow(matrix, cmap="coolwarm", vmin=-2.5, vmax=2.5)
            axes.set_title(f"units of {name}", fontsize=9, color=INK)
            axes.set_xticks([])
            axes.set_yticks([])
        cells = lower.subgridspec(1, 3, wspace=0.3)
        for i, network in enumerate(SHOWN):
            axes = figure.add_subplot(cells[i])
            for way, (color, style) in WAYS.items():
                found = [line for line in lines if (line["network"], line["way"], line["pair"]) == (network, way, 0)]
                losses = found[-1]["losses"]
                axes.plot([k / (len(losses) - 1) for k in range(len(losses))], losses, style, color=color, label=way)
            axes.set_title(network, fontsize=9, color=INK)
            axes.set_xlabel("position on the line from A to B")
            if i == 0:
                axes.set_ylabel("training loss")
                axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(-0.02, 1.05))
        save(figure, ROOT / "docs/alignment.svg")


if __name__ == "__main__":
    main()
