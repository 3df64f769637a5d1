"""Objectives that return something else than a mean loss and a count, and losses that are no good numbers."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from llpf_plugin import Task, classification
from user_tasks.base import X, Y, factory, net, splits

Objective = Callable[[nn.Module, Any], Any]


def task(objective: Objective) -> Task:
    return Task(net(), **splits(), objective=objective)


def loss(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def right(model: nn.Module, batch: Any) -> Tensor:
    return model(batch[0]).argmax(1) == batch[1]


def changed(change: Callable[[Tensor], Tensor]) -> Task:
    """A task whose loss is changed, and whose count is right."""

    def objective(model: nn.Module, batch: Any) -> Any:
        value, correct = classification(model, batch)
        return change(value), correct

    return task(objective)


# ---- values


@factory
def loss_is_always_nan() -> Task:
    return changed(lambda value: value * float("nan"))


@factory
def loss_is_nan_now_and_then() -> Task:
    rng = random.Random(1)
    return changed(lambda value: value * float("nan") if rng.random() < 0.1 else value)


@factory
def loss_is_infinite_now_and_then() -> Task:
    rng = random.Random(1)
    return changed(lambda value: value * float("inf") if rng.random() < 0.1 else value)


@factory
def loss_is_nan_in_training_mode() -> Task:
    def objective(model: nn.Module, batch: Any) -> Any:
        value, correct = classification(model, batch)
        return (value * float("nan") if model.training else value), correct

    return task(objective)


@factory
def a_validation_input_is_nan() -> Task:
    x = X.clone()
    x[160:208] = float("nan")
    return Task(net(), **splits(x))


@factory
def a_training_input_is_nan() -> Task:
    x = X.clone()
    x[3] = float("nan")
    return Task(net(), **splits(x))


@factory
def loss_is_negative() -> Task:
    return changed(lambda value: value - 100)


@factory
def loss_is_huge() -> Task:
    return changed(lambda value: value * 1e30)


@factory
def loss_is_zero() -> Task:
    return changed(lambda value: value * 0)


@factory
def loss_is_a_constant() -> Task:
    return task(lambda model, batch: (torch.tensor(1.0), torch.tensor(3)))


@factory
def loss_is_of_another_model() -> Task:
    other = net()
    return task(lambda model, batch: (loss(other, batch), torch.tensor(1)))


# ---- types of the loss


@factory
def loss_is_a_vector() -> Task:
    return task(lambda model, batch: cross_entropy(model(batch[0]), batch[1], reduction="none"))


@factory
def loss_is_a_vector_of_one() -> Task:
    return task(lambda model, batch: loss(model, batch)[None])


@factory
def loss_is_a_float() -> Task:
    return task(lambda model, batch: loss(model, batch).item())


@factory
def loss_is_none() -> Task:
    return task(lambda model, batch: None)


@factory
def loss_is_in_a_dictionary() -> Task:
    return task(lambda model, batch: {"loss": loss(model, batch)})


@factory
def returns_three_values() -> Task:
    return task(lambda model, batch: (loss(model, batch), 1, 2))


@factory
def returns_a_list() -> Task:
    return task(lambda model, batch: [loss(model, batch), torch.tensor(1)])


@factory
def loss_is_an_integer() -> Task:
    return task(lambda model, batch: (torch.tensor(1), torch.tensor(1)))


@factory
def loss_is_complex() -> Task:
    return task(lambda model, batch: loss(model, batch) * 1j)


@factory
def loss_is_in_half_precision() -> Task:
    return task(lambda model, batch: loss(model, batch).half())


@factory
def loss_is_in_double_precision() -> Task:
    return task(lambda model, batch: cross_entropy(model(batch[0]).double(), batch[1]))


@factory
def loss_is_detached() -> Task:
    return task(lambda model, batch: loss(model, batch).detach())


@factory
def loss_is_taken_without_gradients() -> Task:
    return task(torch.no_grad()(classification))


# ---- counts of correct answers


@factory
def count_is_an_int() -> Task:
    return task(lambda model, batch: (loss(model, batch), 5))


@factory
def count_is_a_vector() -> Task:
    return task(lambda model, batch: (loss(model, batch), right(model, batch)))


@factory
def count_is_a_fraction() -> Task:
    return task(lambda model, batch: (loss(model, batch), right(model, batch).float().mean()))


@factory
def count_is_none() -> Task:
    return task(lambda model, batch: (loss(model, batch), None))


@factory
def count_is_sometimes_none() -> Task:
    calls = itertools.count()
    return task(lambda model, batch: (loss(model, batch), None if next(calls) % 3 == 0 else torch.tensor(1)))


# ---- targets that do not go with the loss


@factory
def targets_are_floats() -> Task:
    return Task(net(), **splits(X, Y.float()))


@factory
def targets_are_out_of_range() -> Task:
    return Task(net(), **splits(X, Y + 100))


@factory
def targets_are_negative() -> Task:
    return Task(net(), **splits(X, -Y - 1))
