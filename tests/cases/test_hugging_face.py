"""Models of the transformers library: merged from what it saves, aligned, and ordered from a configuration alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.commands import merge, method, order
from torch import Tensor

from llpf_plugin import Task, TensorData, align

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SMALL = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip

TOKENS = torch.randint(1, 20, (4, 6), generator=torch.Generator().manual_seed(0))


def llama() -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(num_hidden_layers=2, **SMALL))


def mixtral(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = transformers.MixtralConfig(num_hidden_layers=1, num_local_experts=4, **SMALL)
    return transformers.MixtralForCausalLM(config)


def qwen3_moe(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    config = transformers.Qwen3MoeConfig(num_hidden_layers=1, **experts, **SMALL)
    return transformers.Qwen3MoeForCausalLM(config)


def loss(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return model(input_ids=batch[0], labels=batch[1]).loss


def language_task(model: Any) -> Task:
    return Task(model, TensorData(TOKENS, TOKENS), objective=loss)


def mixtral_task() -> Task:
    return language_task(mixtral())


def qwen3_moe_task() -> Task:
    return language_task(qwen3_moe())


def test_the_residual_stream_of_a_llama_is_aligned() -> None:
    torch.manual_seed(0)
    a = {name: torch.randn_like(tensor) for name, tensor in llama().state_dict().items()}
    stream = torch.randperm(SMALL["hidden_size"])
    writes = ("o_proj.weight", "down_proj.weight", "norm.weight")  # rows; all others read it, in their columns
    b = {
        name: tensor[stream] if name.endswith(writes) or tensor.dim() == 1 else tensor[:, stream]
        for name, tensor in a.items()
    }
    model, losses = llama().eval(), []
    for weights in (a, b):
        model.load_state_dict(weights)
        losses.append(float(loss(model, (TOKENS, TOKENS)).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4), "b is a, shuffled"
    assert align(a, b, language_task(model)).distance[1] < 1e-5


def test_a_mixture_of_experts_is_aligned() -> None:
    before, after = align(mixtral(0).state_dict(), mixtral(1).state_dict(), mixtral_task()).distance
    assert after <= before


NEWER = pytest.mark.skipif(not hasattr(transformers, "Qwen3MoeConfig"), reason="this transformers has no such model")


@pytest.mark.parametrize("make", [mixtral, pytest.param(qwen3_moe, marks=NEWER)])
def test_folders_that_save_pretrained_wrote_are_merged(tmp_path: Path, make: Any) -> None:
    for seed in (0, 1):
        make(seed).save_pretrained(tmp_path / str(seed))
    result = merge(
        tmp_path / "0", tmp_path / "1", "--task", f"{__file__}:{make.__name__}_task", "--tolerance", 50, "--points", 1,
        "--no-report", "-o", tmp_path / "run", *method("linear"),
    )  # fmt: skip
    assert result.code == 0, result.text


@pytest.mark.parametrize("name", ["segformer", "detr"])
def test_inputs_that_are_given_are_not_guessed(name: str) -> None:
    result = order(f"hf:{name}", "--input", "pixel_values=1x3x128x128")
    assert result.code == 0, result.text


@pytest.mark.parametrize("name", ["mixtral", "olmoe"])
def test_a_large_mixture_of_experts_has_an_order(name: str) -> None:
    result = order(f"hf:{name}", "-f", "tree")
    assert result.code == 0, result.text
