"""Is a randomly transformed copy of a network brought back? Every kind of symmetry, many seeds, without data.

B is A with a random change made to every group of its symmetries. Counted are the seeds after which ‖A − B‖ over ‖A‖ is
at most 1e-6 in float64, and how far the outputs of the aligned B are from B's, relative to the largest.

    python benchmarks/recovery.py --seeds 100
"""

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from provenance import add_table, publish, stamp
from shared import table
from torch import Tensor, nn

from llpf_plugin.alignment import match, symmetry
from llpf_plugin.alignment.symmetry import random_changes
from llpf_plugin.geometry import coordinates, norm, select
from llpf_plugin.tasks.models import MLP, LeNet5, SmallResNet

Example = tuple[nn.Module, Any]
ENOUGH = 1e-6


def images(channels: int, side: int) -> Tensor:
    return torch.randn(2, channels, side, side, dtype=torch.float64)


def tokens() -> dict[str, Any]:
    return {"input_ids": torch.randint(0, 50, (2, 8)), "use_cache": False}


def timm_vit(**more: Any) -> Example:
    import timm

    size = {"depth": 2, "embed_dim": 24, "num_heads": 3, "img_size": 32, "patch_size": 8, "num_classes": 5}
    return timm.create_model("vit_tiny_patch16_224", **size, **more), images(3, 32)


def language(kind: str, **more: Any) -> Example:
    import transformers

    config, model = (
        getattr(transformers, f"{kind}{part}")
        for part in ("Config", "LMHeadModel" if kind == "GPT2" else "ForCausalLM")
    )
    return model(config(vocab_size=50, bos_token_id=0, eos_token_id=1, **more)), tokens()


def torchvision_net(name: str, *arguments: Any, **more: Any) -> Example:
    import torchvision

    return getattr(torchvision.models, name)(*arguments, num_classes=5, **more), images(3, 64)


NETWORKS: Mapping[str, Callable[[], Example]] = {
    "MLP, 2 × 32": lambda: (MLP(16, 32, 2, 5), images(1, 4)),
    "LeNet-5": lambda: (LeNet5(), images(1, 28)),
    "ResNet of digits": lambda: (SmallResNet(8, (1, 1), channels=1), images(1, 8)),
    "ResNet18": lambda: torchvision_net("resnet18"),
    "DenseNet, 2 + 2 layers": lambda: torchvision_net("DenseNet", 6, (2, 2), 8),
    "ViT": timm_vit,
    "ViT, layer scale": lambda: timm_vit(init_values=0.5),
    "GPT-2": lambda: language("GPT2", n_positions=16, n_embd=24, n_layer=2, n_head=3),
    "GPT-2, untied": lambda: language(
        "GPT2", n_positions=16, n_embd=24, n_layer=2, n_head=3, tie_word_embeddings=False
    ),
    "Llama, grouped queries": lambda: language(
        "Llama", hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, tie_word_embeddings=False,
    ),
}  # fmt: skip
"""Small networks of many architectures, with example inputs."""


@torch.no_grad()
def output(model: nn.Module, inputs: Any, weights: Mapping[str, Tensor]) -> Tensor:
    result = (
        torch.func.functional_call(model, dict(weights), kwargs=inputs)
        if isinstance(inputs, dict)
        else (torch.func.functional_call(model, dict(weights), (inputs,)))
    )
    return result if isinstance(result, Tensor) else result.logits


def row(name: str, seeds: int) -> tuple[str, ...]:
    model, inputs = NETWORKS[name]()
    model = model.double().eval()
    began = time.perf_counter()
    found = symmetry(model, inputs)
    tracing, own = time.perf_counter() - began, list(coordinates(model))
    tied = {k: first for k, first in {"lm_head.weight": "transformer.wte.weight"}.items() if name == "GPT-2"}
    distances, changes, seconds = list[float](), list[float](), list[float]()
    for seed in range(seeds):
        rng = torch.Generator().manual_seed(seed)
        a = {
            k: t + 0.1 * torch.randn(t.shape, generator=rng, dtype=t.dtype) if k in own else t
            for k, t in model.state_dict().items()
        }
        b = found.absorbed(a)
        for group in found.groups:
            for change in random_changes(group, rng):
                b = found.change(b, {group.name: change})
        b = found.restored(b, a)
        for weights in (a, b):
            weights.update({k: weights[first] for k, first in tied.items()})
        began = time.perf_counter()
        matching = match(a, b, model, found)
        seconds.append(time.perf_counter() - began)
        distances.append(matching.distance[1] / norm(select(a, own)))
        before, after = output(model, inputs, b), output(model, inputs, matching.weights)
        changes.append(float((after - before).abs().max() / before.abs().max()))
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(group.kind for group in found.groups).items())
    good = sum(d <= ENOUGH for d in distances)
    return (
        name, kinds, f"{good} of {seeds}", f"{max(distances):.1e}", f"{max(changes):.1e}", f"{tracing:.1f}",
        f"{median(seconds):.2f}",
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), metavar="NETWORK")
    add_table(parser)
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    rows = []
    for name in asked.networks:
        rows.append(row(name, asked.seeds))
        print(" | ".join(rows[-1]), flush=True)
    head = (
        "network",
        "groups",
        "brought back",
        "worst distance",
        "worst change of outputs",
        "tracing, s",
        "matching, s",
    )
    publish(table(head, rows), asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
