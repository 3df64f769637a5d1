"""The layer order over a zoo of models: coverage, agreement with torch.export, time.

Every torchvision model of its families, timm architectures of different families, Hugging Face models from small
configurations, and modules that are hard to trace. Needs `torchvision`, `timm` and `transformers`; what is not
installed is left out, with a word. Runs on one CPU core; large models stay on `meta`, where they need no memory.

    python benchmarks/order.py                          # all, about half an hour
    python benchmarks/order.py --only 'timm:.*vit'      # some
    python benchmarks/order.py --resume results.jsonl   # keep each result, resume where it stopped
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import re
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from order_report import line, report, timing_table
from provenance import add_table, publish, stamp
from torch import Tensor, nn

from llpf_plugin.order import Inputs, LayerOrder, layer_order, phases
from llpf_plugin.order.derive import unwrap
from llpf_plugin.order.trace.tensors import tensors_in

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.order_export import export_graph, violations
from zoo import Build, zoo

SLOW = 180  # seconds for one step of one model

TIMED = ("torchvision:resnet50", "torchvision:vit_b_16", "torchvision:efficientnet_b0", "hf:llama-24-layers")
"""Models whose order is timed beside a forward pass."""


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
            graph = export_graph(model, inputs)
    except (Exception, TimeoutError) as error:
        return f"no export ({type(error).__name__})"
    wrong = violations(order, graph)
    return f"against: {wrong[:3]}" if wrong else f"agrees, {graph.number_of_edges()} edges"


def timing(build: Build, repeats: int = 5) -> tuple[float, float]:
    """Measure one eager forward pass and the layer order, medians in seconds."""
    model, inputs = build()
    call = Inputs.of(inputs)
    model.eval()
    forward, order = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        with torch.no_grad():
            model(*call.args, **call.kwargs)
        forward.append(time.perf_counter() - start)
        start = time.perf_counter()
        layer_order(model, inputs)
        order.append(time.perf_counter() - start)
    return statistics.median(forward), statistics.median(order)


def results_of(models: Mapping[str, Build], resume: Path | None) -> dict[str, dict[str, Any]]:
    """What examining each model gave, those that the file ``resume`` holds not again."""
    results: dict[str, dict[str, Any]] = {}
    if resume and resume.exists():
        results = dict(json.loads(text) for text in resume.read_text().splitlines())
    for name, build in models.items():
        if name in results:
            continue
        try:
            results[name] = examine(build)
        except (Exception, TimeoutError) as error:
            results[name] = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        print(line(name, results[name]), file=sys.stderr, flush=True)
        if resume:
            with resume.open("a") as file:
                file.write(json.dumps([name, results[name]]) + "\n")
        gc.collect()
    return {name: results[name] for name in models}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression on names")
    parser.add_argument("--resume", type=Path, help="file of results, one JSON object a line")
    parser.add_argument("--no-timing", action="store_true")
    add_table(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    models = {name: build for name, build in zoo().items() if re.search(options.only, name)}
    parts = [report(results_of(models, options.resume))]
    timed = [] if options.no_timing else [name for name in TIMED if name in models]
    if timed:
        parts.append(timing_table({name: timing(models[name]) for name in timed}))
    publish("\n\n".join(parts), options.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
