"""Flower's strategies beside ours: the accuracy that every client sees, by round.

Runs that the JSON file already has are skipped, so that a series can be stopped and resumed.
`federated_report.py` makes tables and a picture of it.

    python benchmarks/federated.py --json digits.json --seeds 0 1 2
    python benchmarks/federated.py --json mnist.json --task mnist/lenet5 --subset 2000 --epochs 1 --rounds 20
    python benchmarks/federated.py --json cifar.json --task cifar10/resnet8 --width 8 --subset 2000 --epochs 1
"""

import argparse
import itertools
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import torch
from federation import Federation, Setting
from strategies import INDEPENDENT_ONLY, STRATEGIES

from llpf_plugin.files import write_json


def curves(options: argparse.Namespace) -> None:
    """Run what the JSON file does not hold yet, until the minutes are over."""
    place = options.json
    done = json.loads(place.read_text()) if place.is_file() else {}
    end = time.monotonic() + 60 * options.minutes
    lengths = list(zip(options.epochs, options.rounds, strict=True))
    for seed, alpha, start, (epochs, rounds) in itertools.product(
        options.seeds, options.alphas, options.starts, lengths
    ):
        setting = Setting(
            options.task, options.subset, options.clients, alpha, epochs, start == "independent", rounds, seed,
            options.start_epochs, options.width,
        )  # fmt: skip
        names = [s for s in options.strategies if setting.independent or s not in INDEPENDENT_ONLY]
        missing = [s for s in names if setting.key(s) not in done]
        federation = Federation(setting) if missing and time.monotonic() < end else None
        for name in missing:
            if federation is None or time.monotonic() > end:
                print("The time is up; run the same command again to continue.")
                return
            run = done[setting.key(name)] = federation.run(name)
            by_round = " ".join(f"{100 * mean(a for a, _ in row):.0f}" for row in run["rounds"])
            print(f"{setting.key(name)}: {by_round} ({run['seconds']:.1f} s)", flush=True)
            write_json(place, done)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("federated.json"), help="results, kept after every run")
    parser.add_argument("--task", default="digits/mlp")
    parser.add_argument("--subset", type=int, default=0, help="training examples, 0 for all (not for digits)")
    parser.add_argument("--width", type=int, default=0, help="of the network, 0 for the task's own")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.0, 0.3, 0.1], help="of Dirichlet, 0 for IID")
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 10], help="local epochs per round")
    parser.add_argument("--rounds", type=int, nargs="+", default=[30, 12], help="one number for each of --epochs")
    parser.add_argument("--starts", nargs="+", default=["independent", "common"])
    parser.add_argument("--start-epochs", type=float, default=100, help="that independent models are trained for")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after this many")
    options = parser.parse_args(arguments)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    curves(options)


if __name__ == "__main__":
    main()
