"""What is examined about the layer order of one model: coverage, and agreement with others who read it."""

from __future__ import annotations

import importlib.util
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from zoo import Build

from llpf_plugin.order import Inputs, LayerOrder, layer_order, phases
from llpf_plugin.order.derive import unwrap
from llpf_plugin.order.trace.tensors import tensors_in

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.order_export import export_graph, violations
from helpers.order_torchlens import torchlens_graph

SLOW = 180  # seconds for one step of one model

MEMORY = 4 << 30  # bytes for one model


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Give up on what takes too long."""

    def stop(signum: int, frame: Any) -> None:
        raise TimeoutError(f"more than {seconds} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def examine(build: Build) -> dict[str, Any]:
    """Order one model and check what was found."""
    torch.manual_seed(0)
    with limited(SLOW):
        model, inputs = build()
    model.eval()
    inner = unwrap(model)
    state = {name: value.clone() for name, value in inner.state_dict().items()}
    names = [name for name, _ in inner.named_parameters()]
    start = time.perf_counter()
    with limited(SLOW):
        order = layer_order(model, inputs)
    elapsed = time.perf_counter() - start
    placed = [parameter for layer in order.layers for parameter in layer.parameters]
    after = inner.state_dict()
    return {
        "parameters": sum(parameter.numel() for parameter in inner.parameters()),
        "tensors": len(names),
        "layers": len(order.layers),
        "regions": regions(order),
        "phases": [len(phases(order, mode)) for mode in ("layer", "block", "stage")],
        "unused": list(order.unused),
        "tracer": order.tracer,
        "verified": order.verified,
        "complete": sorted(placed) == sorted(names),
        "restored": not inner.training and all(same(state[name], after[name]) for name in state),
        "unused_matter": unused_matter(inner, inputs, order),
        "export": export_check(model, inputs, order),
        "torchlens": torchlens_check(model, inputs, order),
        "seconds": elapsed,
        "warnings": list(order.warnings),
        "meta": next(inner.parameters()).is_meta,
    }


def same(a: Tensor, b: Tensor) -> bool:
    """Compare bit for bit, but take NaN for equal."""
    return (
        a.is_meta
        or torch.equal(a, b)
        or bool((a.isnan() == b.isnan()).all() and torch.equal(a.nan_to_num(), b.nan_to_num()))
    )


def regions(order: LayerOrder) -> int:
    labels = (part for layer in order.layers if layer.parallel for part in layer.parallel.split("/"))
    return len({re.split(r"[.~]", label)[0] for label in labels})


@torch.no_grad()
def unused_matter(model: nn.Module, inputs: Any, order: LayerOrder) -> bool | None:
    """Fill the parameters called unused with NaN: does the result change? None where there are none, or no values."""
    parameters = dict(model.named_parameters())
    unused = [parameters[name] for name in order.unused]
    if not unused or unused[0].is_meta:
        return None
    call = Inputs.of(inputs)

    def result() -> list[Tensor]:
        torch.manual_seed(0)
        return [tensor.clone() for tensor in tensors_in(model(*call.args, **call.kwargs))]

    before, saved = result(), [parameter.clone() for parameter in unused]
    for parameter in unused:
        parameter.fill_(torch.nan)
    after = result()
    for parameter, value in zip(unused, saved, strict=True):
        parameter.copy_(value)
    return not (len(before) == len(after) and all(map(same, before, after)))


def export_check(model: nn.Module, inputs: Any, order: LayerOrder) -> str:
    """Compare with `torch.export`: the number of edges that agree, those that do not, or why there is no such graph."""
    if hasattr(model, "config"):
        model.config.use_cache = False  # torch.export takes no cache objects among the results
    try:
        with limited(SLOW):
            graph = export_graph(model, on_meta(inputs) if next(model.parameters()).is_meta else inputs)
    except (Exception, TimeoutError) as error:
        return f"no export ({reason(error)})"
    wrong = violations(order, graph)
    return f"against: {wrong[:3]}" if wrong else f"agrees, {graph.number_of_edges()} edges"


def on_meta(inputs: Any) -> Inputs:
    """Inputs beside weights that have no values."""
    return Inputs.of(inputs).map(lambda tensor: tensor.to("meta"))


def torchlens_check(model: nn.Module, inputs: Any, order: LayerOrder) -> str:
    """Compare with a log of torchlens, likewise; parameters that it alone sees read are told, others counted."""
    if importlib.util.find_spec("torchlens") is None:
        return "not installed"
    if next(model.parameters()).is_meta:
        return "no log (meta)"
    try:
        with limited(SLOW):
            graph, unread = torchlens_graph(model, inputs)
    except (Exception, TimeoutError) as error:
        return f"no log ({reason(error)})"
    if missed := set(order.unused) - unread:
        return f"against: {sorted(missed)[:3]} are read"
    if wrong := violations(order, graph):
        return f"against: {wrong[:3]}"
    unseen = len(unread - set(order.unused))
    return f"agrees, {graph.number_of_edges()} edges" + (f" ({unseen} tensors not seen)" if unseen else "")


def reason(error: BaseException) -> str:
    """The name of an error; of one for want of memory, how much there was."""
    short = isinstance(error, MemoryError) or "allocate memory" in str(error)
    return f"needs more than {MEMORY >> 30} GiB" if short else type(error).__name__


def told(build: Build) -> dict[str, Any]:
    """What `examine` gave, or why it gave nothing, and that alone."""
    try:
        return examine(build)
    except (Exception, TimeoutError) as error:
        what = reason(error)
        return {"error": f"{what}: {' '.join(str(error).split())[:200]}" if what == type(error).__name__ else what}
