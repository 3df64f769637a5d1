"""Small language models on the sources of Python's standard library: GPT-2 and Llama of Hugging Face's, from scratch.

The text is the first `BYTES` bytes of the top-level modules of the library of the Python that runs this, in the order
of their names; so the tokens depend on that Python's version, and ends go with one version only. Python 3.11.7 makes
1,556,836 tokens with a unigram entropy of 5.79 nats. Every function returns a `Task`, which is also found as
``benchmarks/language.py:gpt2``.
"""

import sysconfig
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
from small_networks import next_token
from torch import Tensor, nn

from llpf_plugin import Defaults, Recipe, Task, TensorData

BYTES, VOCABULARY, CONTEXT = 4_000_000, 1024, 64
"""Of the text, entries of the byte-pair encoding that is trained on it, tokens that a model reads at once."""

HELD_OUT = 1000
"""Windows of the validation split, and of the test split, at most."""


def source(size: int = BYTES) -> str:
    """The first ``size`` bytes of the standard library's top-level modules, which hold no tests."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return b"".join(file.read_bytes() for file in files)[:size].decode("utf-8", "ignore")


@cache
def tokens(size: int = BYTES) -> Tensor:
    """The text in a byte-level byte-pair encoding that is trained on it line by line; 1-d, ``int64``."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer

    lines, encoding = source(size).splitlines(keepends=True), Tokenizer(BPE())
    encoding.pre_tokenizer = ByteLevel(add_prefix_space=False)
    alphabet = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    encoding.train_from_iterator(lines, trainer)
    return torch.tensor([token for line in encoding.encode_batch(lines) for token in line.ids])


def unigram_entropy(text: Tensor) -> float:
    """Of the tokens' frequencies, in nats: the loss of the best model that reads nothing."""
    shares = text.bincount().double() / len(text)
    return float(torch.special.entr(shares).sum())


def splits(text: Tensor) -> dict[str, TensorData]:
    """Windows that do not overlap, in a fixed random order: inputs and the next tokens, both ``[n, CONTEXT]``."""
    windows = text.unfold(0, CONTEXT + 1, CONTEXT)
    held_out = min(HELD_OUT, len(windows) // 10)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    parts = windows[order].split([len(windows) - 2 * held_out, held_out, held_out])
    names = ("train", "validation", "test")
    return {name: TensorData(part[:, :-1], part[:, 1:]) for name, part in zip(names, parts, strict=True)}


def gpt2(tied: bool = True, width: int = 128, depth: int = 4, heads: int = 4, size: int = BYTES) -> Task:
    """GPT-2 without dropout.

    Args:
        tied: whether the token embedding is the output matrix as well, as in GPT-2.
        width: of the residual stream.
        depth: blocks.
        heads: of every attention.
        size: of the text, in bytes.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=width, n_layer=depth, n_head=heads, tie_word_embeddings=tied,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, activation_function="gelu_pytorch_tanh", bos_token_id=0,
        eos_token_id=0, use_cache=False, attn_implementation="eager",
    )  # fmt: skip
    return _task("gpt2" if tied else "gpt2-untied", partial(GPT2LMHeadModel, config), size)


def llama(
    width: int = 128, depth: int = 4, heads: int = 4, key_value_heads: int = 2, hidden: int = 344, size: int = BYTES
) -> Task:
    """Llama: RMSNorm, rotary positions, SwiGLU, an output matrix of its own.

    Args:
        width: of the residual stream.
        depth: blocks.
        heads: queries' heads of every attention.
        key_value_heads: heads of keys and values; each serves a group of queries' heads.
        hidden: units of every SwiGLU.
        size: of the text, in bytes.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_size=width, num_hidden_layers=depth,
        num_attention_heads=heads, num_key_value_heads=key_value_heads, intermediate_size=hidden,
        tie_word_embeddings=False, use_cache=False, attn_implementation="eager",
    )  # fmt: skip
    return _task("llama", partial(LlamaForCausalLM, config), size)


def _task(name: str, build: Callable[[], nn.Module], size: int) -> Task:
    """A language model with the recipe by which all of them are trained."""
    recipe = Recipe(
        2, lr=3e-3, weight_decay=0.1, schedule="warmup-cosine", optimizer="adamw", batch_size=16, final_lr=3e-5,
        warmup=0.1,
    )  # fmt: skip
    data = splits(tokens(size))
    return Task(build(), objective=next_token, name=name, defaults=Defaults(16), recipe=recipe, build=build, **data)
