"""Text as examples: blocks of tokens, masked tokens, and sentences with their labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.foreign import explained
from llpf_plugin.tasks.hugging_face.folder import Folder
from llpf_plugin.tasks.hugging_face.table import file_of, read, rows_of
from llpf_plugin.tasks.sampling import generator

BLOCK = 128
"""Tokens of an example, unless the network takes fewer."""

IGNORED = -100
"""The label of a token that counts for nothing, as transformers has it."""

MASKED = 0.15
"""The share of the tokens of a block that are to be found again (Devlin et al., 2019)."""


def length(folder: Folder, wanted: int | None) -> int:
    """Tokens of an example.

    Raises:
        TaskError: the network takes fewer.
    """
    most = getattr(folder.config, "max_position_embeddings", None) or getattr(folder.config, "n_positions", None)
    if wanted is not None and (wanted < 2 or (most and wanted > most)):
        raise TaskError(f"length = {wanted}: {folder.place} takes 2 to {most} tokens")
    return wanted or min(BLOCK, most or BLOCK)


def blocks(folder: Folder, text: str | None, size: int) -> Tensor:
    """A text file as blocks of so many tokens ``[n, size]``; what is left at its end is dropped.

    Raises:
        TaskError: there is no such file, it is no text, or it is too short for ten blocks.
    """
    place = file_of(text, "text", folder)
    words = read(place)
    with explained(f"taking {place} apart with the tokenizer of {folder.place}", TaskError):
        tokens = folder.tokenizer()(words, add_special_tokens=False, verbose=False)["input_ids"]
    if len(tokens) < 10 * size:
        raise TaskError(f"{place} has {len(tokens)} tokens, which is too short: {10 * size} make ten blocks of {size}")
    found = torch.tensor(tokens[: len(tokens) // size * size]).view(-1, size)
    _check_vocabulary(folder, found)
    return found


def masked(folder: Folder, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Blocks with some tokens masked, and labels that name these alone; the same ones every time.

    As in BERT, of the tokens to be found again eight in ten become the mask, one in ten another token, and one stays.
    Every block has equally many, so that the mean over blocks is the mean over tokens.

    Returns:
        Inputs and labels ``[n, size]``.

    Raises:
        TaskError: the tokenizer has no mask.
    """
    tokenizer = folder.tokenizer()
    if tokenizer.mask_token_id is None:
        raise TaskError(f"the tokenizer of {folder.place} has no mask token, which hf/masked-lm needs")
    rng = generator("cpu", 0, "masks")
    count = max(1, round(MASKED * tokens.shape[1]))
    chosen = torch.rand(tokens.shape, generator=rng).argsort(1)[:, :count]
    labels = torch.full_like(tokens, IGNORED).scatter(1, chosen, tokens.gather(1, chosen))
    kind = torch.rand(chosen.shape, generator=rng)
    other = torch.randint(0, folder.config.vocab_size, chosen.shape, generator=rng)
    new = torch.where(kind < 0.8, tokenizer.mask_token_id, torch.where(kind < 0.9, other, tokens.gather(1, chosen)))
    return tokens.scatter(1, chosen, new), labels


def labelled(
    folder: Folder, data: str | None, column: str, label: str, size: int
) -> tuple[Tensor, Tensor, Sequence[str]]:
    """A table of texts and labels, tokenized and padded to the longest.

    Args:
        folder: whose tokenizer and labels.
        data: a ``.csv`` file with a head line, ``.jsonl``, or a folder that the `datasets` library saved.
        column: of the texts.
        label: of the labels: names as in ``config.json``, or numbers.
        size: tokens at most; longer texts are cut.

    Returns:
        What the tokenizer gives, stacked ``[n, kinds, tokens]``; labels ``[n]``; the names of the kinds.

    Raises:
        TaskError: there is no such file or column, or the head does not have a label.
    """
    place, rows = rows_of(folder, data, label)
    for name in (column, label):
        if rows and name not in rows[0]:
            raise TaskError(f"{place} has no column {name!r}; it has {', '.join(map(repr, rows[0]))}")
    if len(rows) < 4:
        raise TaskError(f"{place} has {len(rows)} examples, which are too few")
    targets = torch.tensor([folder.label(str(row[label]), f"{place}, row {i}") for i, row in enumerate(rows, start=1)])
    tokenizer = folder.tokenizer()
    if tokenizer.pad_token is None:
        raise TaskError(f"the tokenizer of {folder.place} has no padding token, which texts of different lengths need")
    with explained(f"taking {place} apart with the tokenizer of {folder.place}", TaskError):
        texts = [str(row[column]) for row in rows]
        found = tokenizer(texts, truncation=True, max_length=size, padding="longest", return_tensors="pt")
    kinds = [k for k in ("input_ids", "attention_mask", "token_type_ids") if k in found]
    _check_vocabulary(folder, found["input_ids"])
    return torch.stack([found[kind] for kind in kinds], 1), targets, kinds


def _check_vocabulary(folder: Folder, tokens: Tensor) -> None:
    if int(tokens.max()) >= folder.config.vocab_size:
        raise TaskError(
            f"{folder.place}: the tokenizer gives token {int(tokens.max())}, but the embedding has "
            f"{folder.config.vocab_size} rows: they do not belong together"
        )
