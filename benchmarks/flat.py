"""How many phases a flat network needs: a `Sequential` of 18 blocks, as MobileNetV2 and EfficientNet are, on digits.

Its stages are its blocks. They are walked one by one, and merged to fewer phases.

    python benchmarks/flat.py --phases stage 8 4 --pairs 3
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean

import torch
from provenance import add_table, publish, stamp
from shared import add_cache, table, trained
from torch import Tensor, nn

from llpf_plugin import LLPF, Compute, Task, find_path
from llpf_plugin.tasks import Defaults
from llpf_plugin.tasks.digits import splits


class InvertedResidual(nn.Module):
    """MobileNetV2's block: a 1×1 convolution to twice the width, a depthwise 3×3 one, and a 1×1 one back."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = 2 * inputs
        self.expand, self.bn1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.project, self.bn3 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, h, w] → [n, outputs, h/stride, w/stride]``."""
        out = torch.relu(self.bn1(self.expand(x)))
        out = self.bn3(self.project(torch.relu(self.bn2(self.depthwise(out)))))
        return x + out if self.residual else out


def flat(width: int = 8, blocks: int = 17) -> Task:
    """A stem and ``blocks`` inverted residuals in one `Sequential`, halved twice, and a linear head."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))]
    for i in range(blocks):
        wider = i in (blocks // 3, 2 * blocks // 3)
        inputs, width = width, 2 * width if wider else width
        layers.append(InvertedResidual(inputs, width, 2 if wider else 1))
    model = nn.Sequential()
    model.features = nn.Sequential(*layers)
    model.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.classifier = nn.Linear(width, 10)
    recipe = {"epochs": 10, "lr": 0.1, "weight_decay": 5e-4}
    return Task(model, name="digits/flat", defaults=Defaults(batch_size=32), recipe=recipe, **splits())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phases", nargs="+", default=["stage", "8", "4"], help="as LLPF takes them")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--max-loss", type=float, default=0.1)
    parser.add_argument("--budget", type=int, default=3000)
    parser.add_argument("--sample", type=int, help="training examples to measure on [all]")
    add_cache(parser)
    add_table(parser)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    compute, task = Compute("cpu"), flat()
    ends = [trained(task, asked.cache / f"flat-{seed}.pt", seed, compute) for seed in range(asked.pairs + 1)]
    rows, options = [], {"max_loss": asked.max_loss, "budget": asked.budget, "sample": asked.sample}
    for phases in asked.phases:
        method = LLPF(phases=phases)
        paths = [find_path(a, b, task, method, **options, compute=compute) for a, b in pairwise(ends)]
        steps, maxima = [p.cost.gradient_steps or 0 for p in paths], [p.quality.maximum for p in paths]
        connected = f"{sum(p.quality.connected for p in paths)} of {len(paths)}"
        number = str(max(len(p.phases) for p in paths))
        each = (", ".join(map(str, steps)), ", ".join(f"{m:.3g}" for m in maxima))
        rows.append((phases, number, connected, f"{mean(steps):.0f}", f"{mean(maxima):.3g}", *each))
        print(*rows[-1], sep=" | ", flush=True)
    head = ("phases", "number", "connected", "steps", "maximum", "steps of each pair", "maximum of each pair")
    publish(table(head, rows), asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
