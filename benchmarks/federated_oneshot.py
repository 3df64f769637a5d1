"""Clients train apart and send their models once: one-shot merging beside what it is compared with.

The server has a small set of its own, half for training and half for validation. Every method that trains there takes
the same number of gradient steps as OneShotLLPF.

    python benchmarks/federated_oneshot.py --json oneshot.json --seeds 0 1 2
    python benchmarks/federated_oneshot.py --json oneshot-mnist.json --task mnist/lenet5 --subset 2000 --seeds 0 1 2
"""

import argparse
import itertools
import json
import logging
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from federated_report import spread
from federation import BATCH, Federation, Setting
from provenance import add_table, publish, sessions
from shared import table
from torch import Tensor

from llpf_flower import join_models
from llpf_flower.oneshot import finetune
from llpf_plugin import Defaults, TensorData
from llpf_plugin.evaluation import evaluate
from llpf_plugin.files import write_json
from llpf_plugin.geometry import Weights
from llpf_plugin.merging import Align
from llpf_plugin.workspace import Workspace


def oneshot(options: argparse.Namespace) -> dict[str, Any]:
    """Run what the JSON file does not hold yet, until the minutes are over; its content."""
    place, end = options.json, time.monotonic() + 60 * options.minutes
    held = json.loads(place.read_text()) if place.is_file() else {"runs": {}}
    for seed, alpha in itertools.product(options.seeds, options.alphas):
        setting = Setting(options.task, options.subset, options.clients, alpha, 1, True, 1, seed, options.start_epochs)
        aligned = "" if options.align == "never" else f", --align {options.align}"
        key = f"{setting.task}{aligned}|{f'Dirichlet {alpha:g}' if alpha else 'IID'}|{seed}"
        if key not in held["runs"] and time.monotonic() < end:
            found = one_shot(Federation(setting), options.server, options.budget, options.align)
            print(key, found, flush=True)
            held = {"measured": sessions(held), "runs": {**held["runs"], key: found}}
            write_json(place, held)
    return held


def one_shot(federation: Federation, server: int, budget: int, align: Align = "never") -> dict[str, float]:
    """Test accuracies of the merges, and of what they are compared with."""
    held = federation.task.validation
    assert isinstance(held, TensorData)
    half = server // 2
    data = {"train": held.subset(half), "validation": TensorData(held.inputs[half:server], held.targets[half:server])}
    defaults = Defaults(BATCH, federation.task.defaults.lr, 0.9, 0.1)
    task = replace(federation.task, **data, model=deepcopy(federation.task.model), defaults=defaults)
    models, sizes = federation.starts, [len(p) for p in federation.parts]
    plain = {
        k: sum(m[k].double() * n for m, n in zip(models, sizes, strict=True)).div(sum(sizes)).to(models[0][k].dtype)  # type: ignore[union-attr]
        for k in models[0]
    }
    workspace = Workspace(replace(task, model=deepcopy(task.model)))

    def accuracy(weights: Weights) -> float:
        found = evaluate(workspace, weights, {"test": federation.test})[0]["test"]
        assert found is not None and found.accuracy is not None
        return found.accuracy

    alone = [accuracy(m) for m in models]
    scores = sum(_probabilities(federation, m) for m in models)
    best = max(range(len(models)), key=lambda i: alone[i])
    joined = join_models(models, task, budget, align=align)
    return {
        "ensemble": float((scores.argmax(-1) == federation.test.targets).double().mean()),  # type: ignore[union-attr]
        "best client": alone[best],
        "mean": accuracy(plain),
        "best client, finetuned": accuracy(finetune(models[best], task, joined.steps)),
        "mean, finetuned": accuracy(finetune(plain, task, joined.steps)),
        "OneShotLLPF": accuracy(joined.weights),
        "steps": joined.steps,
    }


@torch.no_grad()
def _probabilities(federation: Federation, weights: Weights) -> Tensor:
    federation.task.model.load_state_dict(weights)
    federation.task.model.eval()
    return federation.task.model(federation.test.inputs).softmax(-1)


def oneshot_table(done: Mapping[str, Mapping[str, float]]) -> str:
    """One line a split."""
    groups: dict[str, list[Mapping[str, float]]] = {}
    for key, found in done.items():
        groups.setdefault(", ".join(key.split("|")[:2]), []).append(found)
    names = [n for n in next(iter(done.values())) if n != "steps"]
    rows = [
        (f"{group} ({len(runs)} seeds)", *(spread([100 * r[n] for r in runs]) for n in names),
         f"{100 * mean(r['OneShotLLPF'] / r['ensemble'] for r in runs):.0f} %", f"{mean(r['steps'] for r in runs):.0f}")
        for group, runs in groups.items()
    ]  # fmt: skip
    return table(("setting", *names, "OneShotLLPF of ensemble", "steps"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("oneshot.json"), help="results, kept after every run")
    parser.add_argument("--task", default="digits/mlp")
    parser.add_argument("--subset", type=int, default=0, help="training examples, 0 for all (not for digits)")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.0, 0.3, 0.1], help="of Dirichlet, 0 for IID")
    parser.add_argument("--start-epochs", type=float, default=100, help="that the clients' models are trained for")
    parser.add_argument("--server", type=int, default=100, help="examples of the server's own")
    parser.add_argument("--align", choices=("auto", "never", "always"), default="never", help="as in llpf merge")
    parser.add_argument("--budget", type=int, default=1000, help="gradient steps on them")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after this many")
    add_table(parser)
    options = parser.parse_args(arguments)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    held = oneshot(options)
    publish(oneshot_table(held["runs"]), options.table, arguments, held.get("measured", []))


if __name__ == "__main__":
    main()
