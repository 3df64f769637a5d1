"""The models that `order.py` puts in order: torchvision's, timm's of many families, Hugging Face's, and hard ones."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from architectures import IMAGES, SEQUENCES, SOUND, TEXT, TIMM
from torch import nn

from llpf_cli.models import load_model
from llpf_plugin.tasks.hugging_face import example_inputs

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers import order_modules as hard

from llpf_plugin.tasks.networks.cct import CCT
from llpf_plugin.tasks.networks.dla import DLA

Build = Callable[[], tuple[nn.Module, Any]]
LARGE = 150_000_000  # parameters

SMALL_TEXT = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "pad_token_id": 0, "max_position_embeddings": 64,
}  # fmt: skip
SMALL_IMAGES = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
SMALL_SOUND = {k: v for k, v in SMALL_TEXT.items() if k != "max_position_embeddings"} | {"num_conv_pos_embeddings": 16}
SMALL_SEQUENCES = {
    "vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
    "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
KINDS = (
    (TEXT, SMALL_TEXT), (IMAGES, SMALL_IMAGES), (SOUND, SMALL_SOUND), (SEQUENCES, SMALL_SEQUENCES)
)  # fmt: skip
"""Kinds of configurations of transformers, and what makes networks of them small."""


def zoo() -> dict[str, Build]:
    """Name every model and how to build it with its inputs."""
    models: dict[str, Build] = {}
    if importlib.util.find_spec("torchvision"):
        import torchvision.models as tv

        families = (tv, tv.segmentation, tv.video, tv.detection, tv.optical_flow)
        for family in families:
            for name in tv.list_models(module=family):
                models[f"torchvision:{name}"] = lambda name=name: large_on_meta(f"torchvision:{name}")
    if importlib.util.find_spec("timm"):
        import timm

        for name in TIMM:
            if timm.is_model(name):
                models[f"timm:{name}"] = lambda name=name: load_model(f"timm:{name}", {})
    if importlib.util.find_spec("transformers"):
        models |= {f"hf:{name}": build for name, build in {**of_kinds(), **hugging_face()}.items()}
    return models | {f"hard:{name}": build for name, build in oddities().items()}


def large_on_meta(spec: str) -> tuple[nn.Module, Any]:
    """Count the parameters on `meta`, where building is quick; build small models once more, with values."""
    try:
        model, inputs = load_model(spec, {}, "meta")
        if sum(parameter.numel() for parameter in model.parameters()) > LARGE:
            return model, inputs
    except ValueError:
        pass
    return load_model(spec, {})


def of_kinds() -> dict[str, Build]:
    """Small networks of many kinds, as far as this version of transformers has them; without a head."""
    import transformers as hf

    def build(kind: str, values: dict[str, Any]) -> tuple[nn.Module, Any]:
        config = hf.AutoConfig.for_model(kind, **values)
        config.use_cache = False
        network = hf.AutoModel.from_config(config)
        return network, example_inputs(network, config)

    named = [(kind, values) for kinds, values in KINDS for kind in kinds if kind in hf.CONFIG_MAPPING]
    return {kind: lambda entry=(kind, values): build(*entry) for kind, values in named}


def hugging_face() -> dict[str, Build]:
    """Configure small models of each kind."""
    import transformers as hf

    text = {
        "vocab_size": 99,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    image = {k: v for k, v in text.items() if k != "vocab_size"} | {"image_size": 32, "patch_size": 8}
    gpt = {"vocab_size": 99, "n_embd": 32, "n_layer": 4, "n_head": 4}
    t5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4}
    whisper: dict[str, Any] = {
        "vocab_size": 99, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_mel_bins": 16,
        "max_source_positions": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }  # fmt: skip
    clip = {"text_config": text | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}, "vision_config": image}
    llama = text | {"num_key_value_heads": 2}
    configured: dict[str, tuple[str, str, dict[str, Any]]] = {
        "bert": ("BertModel", "BertConfig", text),
        "bert-classifier": ("BertForSequenceClassification", "BertConfig", text),
        "bert-mlm-tied": ("BertForMaskedLM", "BertConfig", text),
        "distilbert": (
            "DistilBertModel",
            "DistilBertConfig",
            {"vocab_size": 99, "dim": 32, "n_layers": 3, "n_heads": 4},
        ),
        "albert-shared": ("AlbertModel", "AlbertConfig", text | {"embedding_size": 16}),
        "gpt2": ("GPT2Model", "GPT2Config", gpt),
        "gpt2-lm-tied": ("GPT2LMHeadModel", "GPT2Config", gpt),
        "llama": ("LlamaModel", "LlamaConfig", llama),
        "llama-lm": ("LlamaForCausalLM", "LlamaConfig", llama),
        "llama-24-layers": ("LlamaForCausalLM", "LlamaConfig", llama | {"num_hidden_layers": 24, "hidden_size": 256}),
        "mixtral": ("MixtralForCausalLM", "MixtralConfig", llama | {"num_local_experts": 4}),
        "mistral": ("MistralForCausalLM", "MistralConfig", llama),
        "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", llama),
        "t5": ("T5Model", "T5Config", t5),
        "t5-tied": ("T5ForConditionalGeneration", "T5Config", t5),
        "bart": (
            "BartModel",
            "BartConfig",
            {k: v for k, v in whisper.items() if k not in ("num_mel_bins", "max_source_positions")},
        ),
        "vit": ("ViTModel", "ViTConfig", image),
        "vit-classifier": ("ViTForImageClassification", "ViTConfig", image),
        "dinov2": ("Dinov2Model", "Dinov2Config", image),
        "clip": ("CLIPModel", "CLIPConfig", clip),
        "whisper": ("WhisperModel", "WhisperConfig", whisper),
        "whisper-lm": ("WhisperForConditionalGeneration", "WhisperConfig", whisper),
        "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2Config", text | {"num_conv_pos_embeddings": 16}),
        "mamba": ("MambaModel", "MambaConfig", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3}),
    }

    def build(model: str, config: str, values: dict[str, Any]) -> tuple[nn.Module, Any]:
        made = getattr(hf, config)(**values)
        network = getattr(hf, model)(made)
        return network, example_inputs(network, made)

    return {name: lambda entry=entry: build(*entry) for name, entry in configured.items()}


def oddities() -> dict[str, Build]:
    """Collect modules that are hard to trace, and the paper's networks."""
    image, row = torch.zeros(2, 3, 32, 32), torch.zeros(2, 4)
    sequence, ids = torch.zeros(5, 2, 8), torch.ones(2, 3, dtype=torch.int64)
    source = (torch.zeros(1, 3, 8), torch.zeros(1, 4, 8))

    def parametrized() -> tuple[nn.Module, Any]:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv1d(1, 2, 1), nn.Linear(4, 4))
        nn.utils.parametrizations.weight_norm(model[0])
        nn.utils.parametrizations.spectral_norm(model[1])
        nn.utils.parametrizations.orthogonal(model[3])
        return model, torch.zeros(2, 1, 4)

    return {
        "cct7": lambda: (CCT(), image),
        "dla": lambda: (DLA(), image),
        "transformer": lambda: (nn.Transformer(8, 2, 2, 2, 16, batch_first=True), source),
        "lstm": lambda: (nn.LSTM(8, 4, 3), sequence),
        "lstm-bidirectional": lambda: (nn.LSTM(8, 4, 2, bidirectional=True, proj_size=2), sequence),
        "gru": lambda: (nn.GRU(8, 4, 2), sequence),
        "tied-dicts": lambda: (hard.Tied(), {"ids": ids}),
        "repeated-unused": lambda: (hard.Repeated(), row),
        "slices-in-place": lambda: (hard.Latents(), row),
        "threads": lambda: (hard.Threaded(), row),
        "checkpointing": lambda: (hard.Checkpointed(), row),
        "control-flow": lambda: (hard.ValueDependent(), row),
        "inner-gradient": lambda: (hard.ForceField(), torch.zeros(2, 3)),
        "parametrized": parametrized,
        "compiled": lambda: (torch.compile(CCT(dim=16, depth=2)), image),
        "data-parallel": lambda: (nn.DataParallel(DLA(width=4)), image),
    }
