"""What can be told of a task factory before it is called."""

import functools
import inspect
import sys
import types
from typing import Any

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.task import Task

REMEDY = "name a function that returns an llpf_plugin.Task"


def check_factory(spec: str, found: Any) -> None:
    """Refuse what cannot be a task factory, so that it is not called.

    A factory is a Python function (decorated, partial or bound ones too) or a subclass of `Task`. It is not of the
    standard library, and the result that it is annotated with, if any, can be a task.

    Raises:
        TaskError: says what it is instead.
    """
    if isinstance(found, type) and issubclass(found, Task):
        return
    function = _unwrapped(found)
    if not isinstance(function, types.FunctionType | types.MethodType):
        raise TaskError(f"{spec!r} is {_kind(function)}, not a task factory, and was not called: {REMEDY}")
    if function.__module__ and function.__module__.partition(".")[0] in sys.stdlib_module_names:
        raise TaskError(
            f"{spec!r} is a function of Python's standard library, not a task factory, and was not called: {REMEDY}"
        )
    result = inspect.signature(function).return_annotation
    if isinstance(result, type) and not _may_be_a_task(result):
        raise TaskError(f"{spec!r} says that it returns {result.__name__}, not a task, and was not called: {REMEDY}")


def _unwrapped(found: Any) -> Any:
    """The function under decorators and arguments that were given in advance."""
    while True:
        inner = found.func if isinstance(found, functools.partial) else getattr(found, "__wrapped__", None)
        if inner is None or isinstance(found, type):
            return found
        found = inner


def _kind(found: Any) -> str:
    if isinstance(found, type):
        return f"the class {found.__name__}"
    if isinstance(found, types.BuiltinFunctionType):
        return "a built-in function"
    return f"of type {type(found).__name__}"


def _may_be_a_task(result: type) -> bool:
    try:
        return result in (inspect.Signature.empty, Any) or issubclass(result, Task) or issubclass(Task, result)
    except TypeError:  # a protocol, or a generic
        return True
