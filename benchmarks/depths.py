"""Depths of layers for layer-wise learning-rate decay: ours, from the layer order, beside those that timm has by hand.

For every model, each pair of parameters that timm puts at different depths is looked up in our groups: it stands there
in the same order, at one depth, or reversed.

    python benchmarks/depths.py
    python benchmarks/depths.py --models vit_tiny_patch16_224 convnext_atto
"""

import argparse
from collections import Counter
from collections.abc import Sequence

import timm
import torch
from provenance import add_table, publish, stamp
from timm.models import group_parameters
from torch import nn

from llpf_plugin.order import param_groups

MODELS = (
    "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224", "beit_base_patch16_224",
    "eva02_tiny_patch14_224", "cait_xxs24_224", "mixer_s16_224", "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256", "pvt_v2_b0", "convnext_atto", "resnet18", "regnety_002", "efficientnet_b0",
    "maxvit_rmlp_pico_rw_256",
)  # fmt: skip
HEADER = ("model", "depths in timm", "ours", "pairs apart in timm", "same order", "at one depth", "reversed", "which")


def depths_of(model: nn.Module) -> tuple[dict[str, int], dict[str, int]]:
    """The depth of every parameter, by timm's patterns and by ours."""
    size = model.pretrained_cfg["input_size"]  # type: ignore[union-attr, index]
    groups = param_groups(model, 1.0, 0.5, torch.zeros(1, *size, device="meta"))
    ours = {name: depth for depth, group in enumerate(groups) for name in group["param_names"]}
    matcher = model.group_matcher(coarse=False)  # type: ignore[operator]
    theirs = {name: int(depth) for name, depth in group_parameters(model, matcher, reverse=True).items()}
    return {name: theirs[name] for name in ours}, ours


def compared(name: str) -> tuple[str, ...]:
    """One row of the table."""
    with torch.device("meta"):
        model = timm.create_model(name).eval()
    theirs, ours = depths_of(model)
    apart = [(a, b) for a in theirs for b in theirs if theirs[a] < theirs[b]]
    reversed_ = [(a, b) for a, b in apart if ours[a] > ours[b]]
    together = sum(ours[a] == ours[b] for a, b in apart)
    most = Counter(name for pair in reversed_ for name in pair).most_common(1)
    counts = (len({*theirs.values()}), len({*ours.values()}), len(apart), len(apart) - together - len(reversed_))
    which = f"{most[0][0]} in {most[0][1]}" if most else ""
    return (name, *map(str, counts), str(together), str(len(reversed_)), which)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    add_table(parser)
    asked = parser.parse_args(arguments)
    rows = [HEADER, ("---",) * len(HEADER), *map(compared, asked.models)]
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    publish(text, asked.table, arguments, [f"timm {timm.__version__}, {stamp()}"])


if __name__ == "__main__":
    main()
