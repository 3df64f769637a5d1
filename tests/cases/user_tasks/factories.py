"""Factories that return no task, or none that could be walked."""

import sys
import threading
import time
from typing import Any

import torch
from torch import nn

from llpf_plugin import Defaults, Task
from user_tasks.base import X, factory, net, splits


@factory
def returns_nothing() -> None:
    return None


@factory
def returns_a_model() -> nn.Module:
    return net()


@factory
def exits_the_factory() -> None:
    sys.exit(4)


@factory
def interrupts_the_factory() -> None:
    raise KeyboardInterrupt


@factory
def raises_a_base_exception() -> None:
    raise BaseException("x")


@factory
def calls_the_factory_again() -> Any:
    return calls_the_factory_again()


@factory
def wants_an_argument(a: int) -> Task:
    return Task(net(), **splits())


@factory
def sets_the_default_type() -> Task:
    torch.set_default_dtype(torch.float64)
    return Task(net(), **splits(X.double()))


@factory
def leaves_a_thread() -> Task:
    threading.Thread(target=time.sleep, args=(3,), daemon=True).start()
    return Task(net(), **splits())


@factory
def model_is_none() -> Task:
    return Task(None, **splits())  # type: ignore[arg-type]


@factory
def model_is_a_function() -> Task:
    return Task(lambda x: x, **splits())  # type: ignore[arg-type]


@factory
def model_is_a_class() -> Task:
    return Task(nn.Linear, **splits())  # type: ignore[arg-type]


@factory
def name_is_a_number() -> Task:
    return Task(net(), **splits(), name=3)  # type: ignore[arg-type]


@factory
def name_is_hard_to_print() -> Task:
    return Task(net(), **splits(), name="<script>alert(1)</script>\x1b[31m[/x]\n../../")


@factory
def batch_size_is_zero() -> Task:
    return Task(net(), **splits(), defaults=Defaults(batch_size=0))


@factory
def defaults_are_negative() -> Task:
    return Task(net(), **splits(), defaults=Defaults(batch_size=-5, lr=-1, tolerance=-1))
