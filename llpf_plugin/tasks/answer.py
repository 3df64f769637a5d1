"""What an objective returned: a mean loss, with or without the number of correct answers; or an error says what."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from llpf_plugin.documents import quoted
from llpf_plugin.errors import TaskError

WANTED = (
    "return the mean loss over the batch, a floating-point tensor of one number with its graph, or the pair (loss, "
    "number of correct answers)"
)


def answer_of(result: Any, name: str) -> tuple[Tensor, Tensor | None]:
    """Loss (0-d) and number of correct answers, or None, of what an objective returned.

    Args:
        result: what it returned.
        name: of the task.

    Raises:
        TaskError: it is something else.
    """
    loss, correct = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        came = f"a pair with {_kind(loss)}" if loss is not result else _kind(result)
        raise TaskError(f"the objective of {quoted(name)} returned {came}: {WANTED}")
    if correct is not None and not _is_number(correct):
        told = f"the objective of {quoted(name)} returned {_kind(correct)} as the number of correct answers"
        raise TaskError(f"{told}: return their sum over the batch, such as (logits.argmax(1) == targets).sum()")
    return loss.reshape(()), None if correct is None else torch.as_tensor(correct).reshape(())


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, int | float)


def _kind(value: Any) -> str:
    """What somebody returned, in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with {quoted(list(value), 60)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
