"""The layer order over a zoo of models: coverage, agreement with torch.export and with torchlens, time.

Every torchvision model of its families, timm architectures of different families, Hugging Face models from small
configurations, and modules that are hard to trace. Needs `torchvision`, `timm`, `transformers` and `torchlens`; what is
not installed is left out, with a word. Runs on one CPU core; large models stay on `meta`, where they need no memory,
and no model takes memory from the next.

    python benchmarks/order.py                          # all, about an hour
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
import statistics
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from forked import forked
from order_checks import MEMORY, told
from order_report import line, report, timing_table
from provenance import add_table, publish, stamp
from zoo import Build, zoo

from llpf_plugin.order import Inputs, layer_order

AT_ONCE = 10
"""Models that one process examines, which saves their imports."""

TIMED = ("torchvision:resnet50", "torchvision:vit_b_16", "torchvision:efficientnet_b0", "hf:llama-24-layers")
"""Models whose order is timed beside a forward pass."""


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
    left = [name for name in models if name not in results]
    for start in range(0, len(left), AT_ONCE):
        named = {name: models[name] for name in left[start : start + AT_ONCE]}
        found = forked(partial(told_all, named), MEMORY)
        for name, build in named.items():
            results[name] = found[name] if alone(found.get(name)) else forked(partial(told, build), MEMORY)
            print(line(name, results[name]), file=sys.stderr, flush=True)
            if resume:
                with resume.open("a") as file:
                    file.write(json.dumps([name, results[name]]) + "\n")
    return {name: results[name] for name in models}


def told_all(models: Mapping[str, Build]) -> dict[str, Any]:
    """What examining several models gave, in one process."""
    found = {}
    for name, build in models.items():
        found[name] = told(build)
        gc.collect()
    return found


def alone(result: dict[str, Any] | None) -> bool:
    """Whether a result is what the model had given in a process of its own: it ended, and had memory enough."""
    return result is not None and "needs more than" not in json.dumps(result)


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
