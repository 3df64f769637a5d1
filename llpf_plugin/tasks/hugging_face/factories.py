"""The tasks: a network of transformers with the loss that it computes itself."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.tasks.batches import Batch
from llpf_plugin.tasks.hugging_face import images as pictures
from llpf_plugin.tasks.hugging_face import text as texts
from llpf_plugin.tasks.hugging_face.data import splits
from llpf_plugin.tasks.hugging_face.folder import Folder
from llpf_plugin.tasks.task import Defaults, Task
from llpf_plugin.tasks.vision import flag

ANSWERS = 1 << 24
"""Numbers at most that a network answers in one evaluation batch: every token has one for each word."""

DEFAULTS = Defaults(batch_size=16, lr=0.02)


def causal_lm(
    model: str | None = None, text: str | None = None, length: int | None = None, checkpointing: bool = False
) -> Task:
    """Predict the next token of a text.

    Args:
        model: the folder that network and tokenizer come from; the command line gives that of A.
        text: a file in UTF-8; its first eight tenths are for training, then one for validation, one for the test.
        length: tokens of an example [128, or what the network takes].
        checkpointing: compute activations again on the way back instead of keeping them, which takes less memory.

    Raises:
        TaskError: the folder or the text cannot be used.
    """
    folder = Folder(model, "hf/causal-lm")
    build = folder.builder("AutoModelForCausalLM", flag(checkpointing))
    tokens = texts.blocks(folder, text, texts.length(folder, length))
    return _task(folder, build, tokens, tokens, ("input_ids",), tokens.shape[1] * folder.config.vocab_size)


def masked_lm(
    model: str | None = None, text: str | None = None, length: int | None = None, checkpointing: bool = False
) -> Task:
    """Find masked tokens of a text again; arguments as of `causal_lm`."""
    folder = Folder(model, "hf/masked-lm")
    build = folder.builder("AutoModelForMaskedLM", flag(checkpointing))
    inputs, labels = texts.masked(folder, texts.blocks(folder, text, texts.length(folder, length)))
    return _task(folder, build, inputs, labels, ("input_ids",), inputs.shape[1] * folder.config.vocab_size)


def text_classification(
    model: str | None = None, data: str | None = None, column: str = "text", label: str = "label",
    length: int | None = None, checkpointing: bool = False, labels: str | Sequence[str] | None = None,
) -> Task:  # fmt: skip
    """Tell the class of a text.

    Args:
        model: the folder that network and tokenizer come from; the command line gives that of A.
        data: a ``.csv`` file with a head line, ``.jsonl``, or a folder that the `datasets` library saved; a tenth each
            is held out for validation and test.
        column: of the texts.
        label: of the labels, which are named as in ``config.json``, or numbers.
        length: tokens at most [128, or what the network takes].
        checkpointing: as of `causal_lm`.
        labels: of the head, in order, where they are not those of ``config.json``.

    Raises:
        TaskError: the folder or the data cannot be used.
    """
    folder = Folder(model, "hf/text-classification", labels)
    build = folder.builder("AutoModelForSequenceClassification", flag(checkpointing))
    size = texts.length(folder, length)
    inputs, targets, kinds = texts.labelled(folder, data, column, label, size)
    return _task(folder, build, inputs, targets, kinds, inputs.shape[-1] * folder.config.hidden_size)


def image_classification(
    model: str | None = None, images: str | None = None, checkpointing: bool = False,
    labels: str | Sequence[str] | None = None,
) -> Task:  # fmt: skip
    """Tell the class of an image.

    Args:
        model: the folder that network and image processor come from; the command line gives that of A.
        images: a folder with one folder of images for each class; a tenth each is held out for validation and test.
        checkpointing: as of `causal_lm`.
        labels: as of `text_classification`.

    Raises:
        TaskError: the folder or the images cannot be used.
    """
    folder = Folder(model, "hf/image-classification", labels)
    build = folder.builder("AutoModelForImageClassification", flag(checkpointing))
    inputs, targets = pictures.classified(folder, images)
    return _task(folder, build, inputs, targets, ("pixel_values",), inputs[0].numel())


def _task(
    folder: Folder, build: Callable[[], nn.Module], inputs: Tensor, targets: Tensor, kinds: Sequence[str], answers: int
) -> Task:
    """The task of inputs ``[n, …]``, or ``[n, kinds, …]`` where there are several."""
    single = targets.dim() == 1
    parts = splits(inputs, targets, max(1, ANSWERS // answers), f"{len(inputs)} examples", shuffled=single)
    return Task(
        build(), name=folder.task, build=build, defaults=DEFAULTS, objective=partial(objective, kinds=tuple(kinds)),
        inputs=lambda batch: Inputs((), named(batch, kinds)), classes=folder.classes if single else (), **parts,  # type: ignore[arg-type]
    )  # fmt: skip


def named(batch: Batch, kinds: Sequence[str]) -> dict[str, Tensor]:
    """What the network is called with, without the labels."""
    return {kinds[0]: batch[0]} if len(kinds) == 1 else dict(zip(kinds, batch[0].unbind(1), strict=True))


def objective(model: nn.Module, batch: Batch, kinds: Sequence[str]) -> Any:
    """The loss as transformers computes it; of a classifier the number of correct answers too."""
    targets = batch[1]
    answer = model(**named(batch, kinds), labels=targets)
    if targets.dim() > 1:
        return answer.loss.float()
    return answer.loss.float(), (answer.logits.argmax(-1) == targets).sum()
