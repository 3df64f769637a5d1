"""What an objective answers, batch by batch, and its mean: the loss, and the share of correct answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llpf_plugin.errors import TaskError

FEW = 16
"""In every one of smaller batches, one correct answer may be chance."""


@dataclass(frozen=True)
class Score:
    """Mean loss and share of correct answers over a split.

    Attributes:
        loss: the mean over examples.
        accuracy: in [0, 1], or None where the objective counts no correct answers.
    """

    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Answer:
    """What the objective says of one batch.

    Attributes:
        size: examples of the batch.
        loss: their mean loss (0-d, float64, on the device).
        correct: how many were answered correctly, or which share of them (0-d, float64); None where it does not say.
        whole: whether the objective gave an integer.
    """

    size: int
    loss: Tensor
    correct: Tensor | None = None
    whole: bool = True

    @classmethod
    def of(cls, size: int, loss: Tensor, correct: Tensor | None) -> "Answer":
        """From what `Task.score` returns; nothing waits for the device."""
        if correct is None:
            return cls(size, loss.detach().double())
        correct = torch.as_tensor(correct)
        return cls(size, loss.detach().double(), correct.detach().double(), not correct.is_floating_point())


def mean(answers: Sequence[Answer]) -> Score:
    """The mean over all examples.

    Raises:
        TaskError: there is no example, or what the objective calls correct answers cannot be their number.
    """
    if not answers:
        raise TaskError("there is no example to measure the loss on")
    count = sum(answer.size for answer in answers)
    loss = torch.stack([answer.loss * answer.size for answer in answers]).sum() / count
    return Score(float(loss), _accuracy(answers, count))


def _accuracy(answers: Sequence[Answer], count: int) -> float | None:
    found = [answer.correct for answer in answers if answer.correct is not None]
    if len(found) < len(answers):
        return None
    values, sizes = torch.stack(found).tolist(), [answer.size for answer in answers]
    for value, size in zip(values, sizes, strict=True):
        if not 0 <= value <= size:
            raise TaskError(
                f"the objective says that {value:g} answers of a batch of {size} examples are correct: "
                "return (loss, number of correct answers), such as (logits.argmax(1) == targets).sum()"
            )
    if _shares(answers, values, sizes):
        return sum(value * size for value, size in zip(values, sizes, strict=True)) / count
    return sum(values) / count


def _shares(answers: Sequence[Answer], values: Sequence[float], sizes: Sequence[int]) -> bool:
    """Whether the objective gives shares of correct answers where their number is asked for, as far as can be told."""
    if all(answer.whole for answer in answers) or max(values) > 1:
        return False
    some = any(not value.is_integer() for value in values)
    return some or (min(values) == 1 and min(sizes) >= FEW)  # all are correct, rather than exactly one of every batch
