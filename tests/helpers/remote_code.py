"""Folders of transformers whose network is code that lies in them; the code leaves a mark where it is imported."""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file

from helpers import hugging_face as hf

MARK = "LLPF_TEST_MARK"
"""The environment variable with the file that is touched."""

CONFIGURATION = """
import os
from pathlib import Path
from transformers import PretrainedConfig

Path(os.environ["LLPF_TEST_MARK"]).touch()

class OwnConfig(PretrainedConfig):
    model_type = "own"
    def __init__(self, vocab_size=25, hidden_size=8, **more):
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        super().__init__(**more)
"""

NETWORK = """
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput
from .configuration_own import OwnConfig

class OwnForCausalLM(PreTrainedModel):
    config_class = OwnConfig
    main_input_name = "input_ids"
    def __init__(self, config):
        super().__init__(config)
        size, words = config.hidden_size, config.vocab_size
        self.embed, self.hidden, self.head = nn.Embedding(words, size), nn.Linear(size, size), nn.Linear(size, words)
        self.post_init()
    def get_input_embeddings(self):
        return self.embed
    def forward(self, input_ids, labels=None, **more):
        logits = self.head(self.hidden(self.embed(input_ids)).relu())
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)
"""


def folder(place: Path, seed: int) -> Path:
    """Fresh weights, a tokenizer, a configuration and the code that it names."""
    place.mkdir()
    rng = torch.Generator().manual_seed(seed)
    sizes = {"embed.weight": (25, 8), "hidden.weight": (8, 8), "hidden.bias": (8,), "head.weight": (25, 8)}
    sizes["head.bias"] = (25,)
    weights = {name: torch.randn(size, generator=rng) * 0.3 for name, size in sizes.items()}
    save_file(weights, place / "model.safetensors", {"format": "pt"})
    auto = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    config = {"model_type": "own", "architectures": ["OwnForCausalLM"], "auto_map": auto}
    (place / "config.json").write_text(json.dumps({**config, "vocab_size": 25, "hidden_size": 8}))
    (place / "configuration_own.py").write_text(CONFIGURATION)
    (place / "modeling_own.py").write_text(NETWORK)
    hf.tokenizer().save_pretrained(place)
    return place


def ran() -> bool:
    """Whether the code was imported since the last time that this was asked."""
    mark = Path(os.environ[MARK])
    found = mark.exists()
    mark.unlink(missing_ok=True)
    return found
