"""A task from its name or its factory."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

from llpf_plugin.errors import LLPFError, TaskError
from llpf_plugin.tasks import BUILT_IN, GROUP, known
from llpf_plugin.tasks.check import check_task
from llpf_plugin.tasks.factory import check_factory
from llpf_plugin.tasks.packages import declared, load
from llpf_plugin.tasks.specification import build, find, nearest
from llpf_plugin.tasks.task import Task


def load_task(spec: str | Task, arguments: Mapping[str, Any] | None = None) -> Task:
    """A task from its name or its factory.

    Args:
        spec: a `Task`; a built-in name such as ``digits/resnet``; the name of a task that an installed package brings
            (an entry point of the group ``llpf_plugin.tasks``); ``module:function``; or ``file.py:function``.
        arguments: keyword arguments of the factory.

    Raises:
        TaskError: an unknown name, a file or function that is missing, what is no factory (it is not called), a
            factory that fails (the cause is named), or a task whose parts are of the wrong kind (see `check_task`).
    """
    if isinstance(spec, Task):
        check_task(spec)
        return spec
    arguments = dict(arguments or {})
    try:
        factory = _users_own(spec) if ":" in spec else _named(spec)
        task = build(spec, factory, arguments)
    except TaskError:
        raise
    except LLPFError as error:
        raise TaskError(f"the task {spec!r} could not be built: {error}") from error
    if not isinstance(task, Task):
        raise TaskError(f"{spec!r} returned {type(task).__name__}; a task factory returns an llpf_plugin.Task")
    check_task(task)
    made = task.build or (lambda: build(spec, factory, arguments).model)
    return replace(task, name=spec if task.name == "task" else task.name, build=made)


def _users_own(spec: str) -> Callable[..., Task]:
    factory: Callable[..., Task] = find(spec)
    check_factory(spec, factory)
    return factory


def _named(name: str) -> Callable[..., Task]:
    """The factory of a task of ours, or of one that an installed package brings."""
    if name in BUILT_IN:
        module, function = BUILT_IN[name].split(":")
        return attrgetter(function)(importlib.import_module(module))
    if name.startswith("images/"):
        return partial(_named("images/CLASSIFIER"), name.removeprefix("images/"))
    if name not in (names := known()):
        hint = nearest(name, list(names), most=len(names))
        raise TaskError(f"there is no built-in task {name!r}{hint} Your own: file.py:function or module:function")
    factory: Callable[..., Task] = load(declared(GROUP)[name])
    check_factory(name, factory)
    return factory
