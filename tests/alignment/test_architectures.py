"""Other people's networks: what may be done to their units, that it changes nothing, and that it is undone again."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from helpers.symmetries import transformed
from torch import nn

from llpf_plugin.alignment import match, symmetry
from llpf_plugin.geometry.weights import coordinates, norm, select

Example = tuple[nn.Module, Any]
TOKENS = {"input_ids": torch.randint(0, 50, (2, 8), generator=torch.Generator().manual_seed(0)), "use_cache": False}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yield


def vit() -> Example:
    timm = pytest.importorskip("timm")
    size: dict[str, Any] = {"depth": 2, "embed_dim": 24, "num_heads": 3, "img_size": 32, "patch_size": 8}
    return timm.create_model("vit_tiny_patch16_224", **size, num_classes=5), IMAGES


def layer_scale() -> Example:
    timm = pytest.importorskip("timm")
    size: dict[str, Any] = {"depth": 2, "embed_dim": 24, "num_heads": 3, "img_size": 32, "patch_size": 8}
    return timm.create_model("vit_tiny_patch16_224", **size, num_classes=5, init_values=0.5), IMAGES


def encoder() -> Example:
    layer = nn.TransformerEncoderLayer(12, 3, 10, dropout=0.0, batch_first=True, norm_first=True)
    return nn.Sequential(nn.Linear(16, 12), layer, nn.LayerNorm(12), nn.Linear(12, 2)), torch.randn(3, 4, 16)


def gpt2(tied: bool) -> Example:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=50, n_positions=16, n_embd=24, n_layer=2, n_head=3, tie_word_embeddings=tied, bos_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config), TOKENS


def llama() -> Example:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, tie_word_embeddings=False,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config), TOKENS


def densenet() -> Example:
    torchvision = pytest.importorskip("torchvision")
    return torchvision.models.DenseNet(6, (2, 2), 8, num_classes=5), IMAGES


NETWORKS: dict[str, tuple[Callable[[], Example], dict[str, int]]] = {
    "vit": (vit, {"orthogonal": 1, "invertible": 4, "permutation": 4}),
    "layer scale": (layer_scale, {"orthogonal": 1, "invertible": 4, "permutation": 4}),
    "encoder": (encoder, {"orthogonal": 1, "invertible": 2, "permutation": 1, "scaling": 1}),
    "gpt2": (lambda: gpt2(False), {"orthogonal": 1, "invertible": 4, "permutation": 4}),
    "gpt2, tied": (lambda: gpt2(True), {"invertible": 4, "permutation": 5}),  # one scale for two readers of a matrix
    "llama": (llama, {"orthogonal": 1, "invertible": 2, "permutation": 6, "rotary": 2, "factors": 2}),
    "densenet": (densenet, {"permutation": 10}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_transformed_copy_computes_the_same_and_is_brought_back(name: str) -> None:
    make, kinds = NETWORKS[name]
    model, inputs = make()
    model, inputs = model.double().eval(), inputs.double() if isinstance(inputs, torch.Tensor) else inputs
    found = symmetry(model, inputs)
    assert {k: [group.kind for group in found.groups].count(k) for k in kinds} == kinds
    assert found.rejected == () and sum(kinds.values()) == len(found.groups)
    a = {k: t.clone() for k, t in model.state_dict().items()}
    before = output(model, inputs)
    b = transformed(found, a, seed=3)
    b.update({k: b[v] for k, v in {"lm_head.weight": "transformer.wte.weight"}.items() if name == "gpt2, tied"})
    model.load_state_dict(b)
    assert (output(model, inputs) - before).abs().max() < 1e-6 * before.abs().max()
    result, own = match(a, b, model, found), list(coordinates(model))
    assert result.distance[0] > 0.1 * norm(select(a, own))
    assert result.distance[1] < 1e-6 * norm(select(a, own))


def output(model: nn.Module, inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        result = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    return result if isinstance(result, torch.Tensor) else result.logits
