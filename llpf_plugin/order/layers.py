"""Which layer owns a parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn
from torch.nn.utils import parametrize

_RECURRENT = re.compile(r"_l(\d+)(_reverse)?$")
_NORM = re.compile(r"norm", re.IGNORECASE)
_PARAMETRIZATIONS = "parametrizations."


@dataclass(frozen=True)
class Owner:
    """A layer as the module tree shows it.

    Attributes:
        name: path of the owning module, or of the parameter itself.
        type: class name of that module; ``Parameter`` for a parameter that a container holds directly.
        parameters: names of its parameters.
    """

    name: str
    type: str
    parameters: tuple[str, ...]

    @property
    def is_norm(self) -> bool:
        """Whether this is a normalization: its class says so, and its parameters have a norm's usual names."""
        leaves = {name.rpartition(".")[2] for name in self.parameters}
        plain = {"weight", "bias", "gamma", "beta", "alpha", "g", "b", "scale", "original0", "original1"}
        return bool(_NORM.search(self.type)) and leaves <= plain


def owners(model: nn.Module) -> dict[str, Owner]:
    """Divide the parameters of a module among layers.

    A layer is a module that holds parameters and has no child with parameters. A recurrent module is one layer per
    depth (``lstm.l0``), attention is ``in_proj`` and ``out_proj``, a parametrization belongs to its host, and what a
    container holds directly (a class token, a list of weights) is one layer per parameter.

    Returns:
        The layers by name, in the order of registration. Each parameter is in exactly one.
    """
    modules = dict(model.named_modules())
    names = [name for name, _ in model.named_parameters()]
    containers = set(_containers(names))
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(_owner(name, modules, containers), []).append(name)
    return {owner: Owner(owner, _type(owner, modules), tuple(held)) for owner, held in members.items()}


def _containers(names: Iterable[str]) -> Iterator[str]:
    """The path of every module that has a child with parameters, some more than once."""
    for name in names:
        host, parametrized, _ = name.partition(_PARAMETRIZATIONS)
        path = host.rstrip(".") if parametrized else name.rpartition(".")[0]
        while path:
            path = path.rpartition(".")[0]
            yield path


def _owner(name: str, modules: Mapping[str, nn.Module], containers: set[str]) -> str:
    path, _, leaf = name.rpartition(".")
    if _PARAMETRIZATIONS in name:
        host, _, rest = name.partition(_PARAMETRIZATIONS)
        path, leaf = host.rstrip("."), rest.partition(".")[0]
        name = f"{host}{leaf}"
    module = modules[path]
    inside = f"{path}." if path else ""
    if isinstance(module, nn.RNNBase) and (match := _RECURRENT.search(leaf)):
        return f"{inside}l{match[1]}"
    if isinstance(module, nn.MultiheadAttention):
        return f"{inside}in_proj"
    if isinstance(module, nn.ParameterList | nn.ParameterDict) or path in containers or not path:
        return name
    return path


def _type(owner: str, modules: Mapping[str, nn.Module]) -> str:
    if owner in modules:
        return class_name(modules[owner])
    path, _, leaf = owner.rpartition(".")
    host = modules.get(path)
    if isinstance(host, nn.MultiheadAttention) and leaf == "in_proj":
        return f"{class_name(host)}.in_proj"
    if isinstance(host, nn.RNNBase) and re.fullmatch(r"l\d+", leaf):
        return class_name(host)
    return "Parameter"


def class_name(module: nn.Module) -> str:
    """The name of a module's class; a parametrized module has a generated class above its own."""
    kind = type(module)
    if isinstance(original := getattr(module, "original_name", None), str):  # of a scripted module
        return original
    return (kind.__mro__[1] if parametrize.is_parametrized(module) else kind).__name__
