"""How a run begins: where clients come with models of their own, the server's first one is chosen among candidates."""

import math
from collections.abc import Callable, Mapping, Sequence
from logging import INFO, WARNING
from typing import Any

from flwr.app import ArrayRecord
from flwr.common.logger import log
from torch import nn

from llpf_flower import serverside
from llpf_flower.first import DEFAULT, FRESH, ZEROS, Network, apart, check, choose, made, makers, untrained
from llpf_flower.history import Row
from llpf_flower.mean import Average
from llpf_flower.replies import Reply
from llpf_flower.rule import Rule
from llpf_plugin.tasks import Task
from llpf_plugin.workspace import Compute

Source = tuple[Callable[[], nn.Module], Any]
"""A model factory and example inputs."""

Judge = Callable[[Mapping[str, ArrayRecord]], Mapping[str, float]]
"""The losses of models by name; empty where nobody can tell."""


class Beginning:
    """What the first model is.

    Args:
        first: its name, or ``auto`` for the best.
        network: that models are aligned by, None for that of the task.
        task: the server's, which the candidates are judged on; None if the clients are to be asked.
        compute: device and precision.

    Raises:
        LLPFError: there is no such first model, or it cannot be made without the network.
    """

    def __init__(self, first: str, network: Source | None, task: Task | None, compute: Compute | None) -> None:
        check(first, network is not None or task is not None)
        self.first, self.task, self.compute = first, task, compute
        self._source = network

    def model(
        self, row: Row, replies: Sequence[Reply], before: ArrayRecord, rule: Rule, mean: Average, ask: Judge
    ) -> ArrayRecord | None:
        """The first model, or None where the clients start together or send only parts: then it is their mean.

        Args:
            row: of the round; ``first`` and ``first losses`` are noted there.
            replies: all that count.
            before: the model that the run began with.
            rule: how a mean is taken.
            mean: of the replies, by that rule.
            ask: the clients' judgement.
        """
        names = apart(mean.kept, [reply.weight for reply in replies])
        if not names or any(reply.arrays.keys() != before.keys() for reply in replies):
            return None
        known = self._network if self._source is not None or self.task is not None else None
        found = makers(replies, before, rule, mean, names, known)
        if self.first != "auto":
            return self._taken(row, self.first, made({self.first: found[self.first]}))
        models = made(found)
        asked = {ZEROS: rule.conform(untrained(before, mean, names, zero=True), before), **models}
        del asked[FRESH]  # nobody needs to be asked what a model knows that has learnt nothing
        losses = dict(self._judged(asked, rule, ask))
        chance = losses.pop(ZEROS, math.inf)
        row["first losses"] = losses
        return self._taken(row, choose(losses, chance) if losses else DEFAULT, models)

    def _network(self) -> Network:
        """What models are aligned by."""
        if self._source is not None:
            return self._source[0](), self._source[1]
        assert self.task is not None
        return self.task.model, self.task.example_inputs()

    def _judged(self, models: Mapping[str, ArrayRecord], rule: Rule, ask: Judge) -> Mapping[str, float]:
        """The losses on the server's task, else on the clients' data."""
        if self.task is None:
            return ask(models)
        return serverside.losses(self.task, models, self.compute, again=rule.buffers == "reestimate")

    def _taken(self, row: Row, name: str, models: Mapping[str, ArrayRecord]) -> ArrayRecord | None:
        """The model of that name, noted and logged; None, for the mean on spheres, if it could not be made."""
        row["first"] = name if name in models else DEFAULT
        known = ", ".join(f"{k} {loss:.4g}" for k, loss in row.get("first losses", {}).items())
        log(INFO, "The clients start apart. First model: %s%s", row["first"], f" (losses: {known})" if known else "")
        if not known and self.first == "auto":
            log(
                WARNING,
                "\t> Nobody could judge the candidates: give task=, or let clients report a loss in evaluations",
            )
        return models.get(row["first"])
