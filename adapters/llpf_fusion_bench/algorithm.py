"""`LLPFAlgorithm`: the models of a pool, joined along low-loss paths."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from fusion_bench import BaseAlgorithm, BaseModelPool
from fusion_bench.mixins import auto_register_config
from omegaconf import OmegaConf
from torch import Tensor, nn

from llpf_plugin import Compute, merge
from llpf_plugin.errors import MismatchError, SpecificationError
from llpf_plugin.merging import Align, Merged, Pair, Source, Watch
from llpf_plugin.methods import make_method
from llpf_plugin.quality import Picked, Quality
from llpf_plugin.search import SearchOptions
from llpf_plugin.tasks import load_task, nearest

log = logging.getLogger(__name__)

_SERIALIZED = ("_recursive_", "_usage_", "_version_")
"""Settings of every algorithm, which fusion_bench writes into YAML."""

_SEARCH = tuple(field.name for field in fields(SearchOptions))


@auto_register_config
class LLPFAlgorithm(BaseAlgorithm):
    """Connect the models of a pool by paths of low training loss, and merge them along these paths.

    A pool has models, and no loss; the task says what it is. More than two models are merged pair by pair.

    Args:
        task: name or factory of the task, as of `llpf_plugin.load_task`; its network is that of the models.
        task_arguments: of its factory.
        path_method: how paths are found, as of `llpf_plugin.methods.make_method`; in fusion_bench, ``method`` is the
            algorithm itself.
        path_method_arguments: settings of that method.
        search: what is asked of every search, such as ``max_loss`` and ``budget``; the fields of `SearchOptions`.
        pick: the point of each path: ``best`` on validation data, ``mid``, ``end``, or its place in [0, 1].
        align: whether the units of a pair's second model are first brought into the first one's order.
        out: a folder for runs, merged model and verdict; nothing is written without one.
        resume: continue the runs in ``out``.
        device: ``cpu``, ``cuda``, …; ``auto`` takes the first accelerator there is.

    Raises:
        SpecificationError: there is no such setting.
    """

    task: str  # all of these are set by fusion_bench's decorator
    task_arguments: Mapping[str, Any] | None
    path_method: str
    path_method_arguments: Mapping[str, Any] | None
    search: Mapping[str, Any] | None
    pick: str | float
    align: Align
    out: str | None
    resume: bool
    device: str

    def __init__(
        self, task: str, task_arguments: Mapping[str, Any] | None = None, path_method: str = "llpf",
        path_method_arguments: Mapping[str, Any] | None = None, search: Mapping[str, Any] | None = None,
        pick: str | float = "best", align: Align = "auto", out: str | None = None, resume: bool = False,
        device: str = "auto", **kwargs: Any,
    ) -> None:  # fmt: skip
        own = [name for name in self._config_mapping.values() if name not in _SERIALIZED]
        _check_names("setting", [name for name in kwargs if name not in _SERIALIZED], own)
        _check_names("setting of search", list(search or {}), _SEARCH)
        super().__init__(**kwargs)

    def run(self, modelpool: BaseModelPool) -> nn.Module:
        """Join the models of a pool.

        Args:
            modelpool: its models, without special ones such as ``_pretrained_``, have the architecture of the task's.

        Returns:
            A copy of the first model with the merged weights.

        Raises:
            LLPFError: of any kind; see `llpf_plugin.merge`.
        """
        models = {name: _module(name, modelpool.load_model(name)) for name in modelpool.model_names}
        named = {"task": self.task, "task_arguments": _plain(self.task_arguments), "method": self.path_method}
        merged = merge(
            [Source(name, _weights(model)) for name, model in models.items()],
            load_task(self.task, _plain(self.task_arguments)),
            make_method(self.path_method, _plain(self.path_method_arguments)),
            pick=self.pick, align=self.align, out=None if self.out is None else Path(self.out), resume=self.resume,
            compute=Compute(self.device), named=named, watch=_Log(), **_plain(self.search),
        )  # fmt: skip
        _say(merged)
        result = deepcopy(next(iter(models.values())))
        result.load_state_dict(merged.weights)
        return result


class _Log(Watch):
    """Says what became of each pair."""

    def on_gather(self, sentence: str) -> None:
        log.info("%s", sentence)

    def on_open(self, pair: Pair) -> None:
        for found in pair.search.findings:
            log.warning("%s", found)
        if pair.alignment is not None:
            log.info("%s: %s", _names(pair), pair.alignment.sentence)

    def on_close(self, pair: Pair, quality: Quality, picked: Picked, merged: Path | None) -> None:
        for one in quality.criteria:
            log.info("%s: %s: %s", _names(pair), one.name, one.sentence)
        log.info("%s: merged at t = %.3g", _names(pair), picked.t)


def _names(pair: Pair) -> str:
    return " and ".join(end.name for end in pair.ends)


def _say(merged: Merged) -> None:
    level = logging.INFO if merged.connected else logging.WARNING
    word = "connected" if merged.connected else "not connected"
    log.log(
        level, "%s after %d gradient steps%s", word, merged.gradient_steps, f": {merged.file}" if merged.file else ""
    )


def _check_names(kind: Literal["setting", "setting of search"], given: list[str], known: Any) -> None:
    for name in given:
        if name not in known:
            raise SpecificationError(f"LLPFAlgorithm has no {kind} {name!r}{nearest(name, list(known))}")


def _module(name: str, model: Any) -> nn.Module:
    """A model of the pool, unless it is one that is only read when it is needed."""
    if not isinstance(model, nn.Module):
        raise MismatchError(
            f"{name} is a {type(model).__name__}, not a module: set enable_lazy_loading: false in the pool"
        )
    return model


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().cpu() for name, t in model.state_dict().items() if isinstance(t, Tensor)}


def _plain(value: Any) -> dict[str, Any]:
    """A mapping of a configuration as Python's own; an empty one for nothing."""
    plain: Any = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return dict(plain or {})
