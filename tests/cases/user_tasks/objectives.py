"""Objectives that raise, at once or after a while."""

import random
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import nn

from llpf_plugin import Task, classification
from user_tasks.base import factory, net, splits

IN_THE_WALK = 25
"""A call of the objective that comes after the ends were measured, and before a walk could have arrived."""


def at_call(count: int, happens: Callable[[], object]) -> Callable[[nn.Module, Any], Any]:
    """The classification objective, but in its call of this number something happens first."""
    calls = 0

    def objective(model: nn.Module, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            happens()
        return classification(model, batch)

    return objective


def raising(error: BaseException) -> Callable[[], NoReturn]:
    """A function that raises."""

    def happens() -> NoReturn:
        raise error

    return happens


def task(count: int, happens: Callable[[], object]) -> Task:
    return Task(net(), **splits(), objective=at_call(count, happens))


@factory
def nothing_goes_wrong() -> Task:
    return Task(net(), **splits())


@factory
def raises_in_the_first_call() -> Task:
    return task(1, raising(ValueError("users bug")))


@factory
def raises_in_the_walk() -> Task:
    return task(IN_THE_WALK, raising(RuntimeError("users bug in the walk")))


@factory
def raises_late() -> Task:
    return task(120, raising(KeyError("users bug at 120")))


@factory
def runs_out_of_gpu_memory() -> Task:
    return task(IN_THE_WALK, raising(torch.OutOfMemoryError("CUDA out of memory")))


@factory
def runs_out_of_memory() -> Task:
    return task(IN_THE_WALK, raising(MemoryError()))


@factory
def raises_stop_iteration() -> Task:
    return task(IN_THE_WALK, raising(StopIteration()))


@factory
def misses_a_file() -> Task:
    return task(IN_THE_WALK, raising(FileNotFoundError(2, "No such file", "img.png")))


@factory
def exits() -> Task:
    return task(IN_THE_WALK, lambda: sys.exit(5))


@factory
def is_interrupted() -> Task:
    return task(IN_THE_WALK, raising(KeyboardInterrupt()))


@factory
def calls_itself() -> Task:
    def happens() -> object:
        return happens()

    return task(IN_THE_WALK, happens)


@factory
def raises_now_and_then() -> Task:
    rng = random.Random(0)

    def objective(model: nn.Module, batch: Any) -> Any:
        if rng.random() < 0.1:
            raise RuntimeError("random failure")
        return classification(model, batch)

    return Task(net(), **splits(), objective=objective)


@factory
def raises_with_markup_and_colours() -> Task:
    return task(IN_THE_WALK, raising(RuntimeError("line1\nline2 [bold]x[/] [/nope]\x1b[31m")))


@factory
def runs_backward_itself() -> Task:
    def objective(model: nn.Module, batch: Any) -> Any:
        loss, correct = classification(model, batch)
        if loss.requires_grad:
            loss.backward()
        return loss, correct

    return Task(net(), **splits(), objective=objective)


@factory
def has_no_objective() -> Task:
    return Task(net(), **splits(), objective=None)  # type: ignore[arg-type]
