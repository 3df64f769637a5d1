"""Tables and a picture of what `federated.py` ran.

What a client "sees" is the test accuracy of the model that serves it in a round: the mean that it was sent, or its own
as long as that is better, where own models are served.

    python benchmarks/federated_report.py --json digits.json --figure docs/flower-digits.svg
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from provenance import add_table, publish
from shared import confidence, table
from strategies import OWN_SERVED, STRATEGIES

Run = Mapping[str, Any]
"""One run: ``start``, a pair a client, and ``rounds``, such pairs by round: accuracy on the test images, and on them
weighted by the client's own classes."""

Group = Mapping[str, Mapping[int, Run]]
"""The runs of one setting by strategy and seed."""

HEAD = (
    "strategy", "seeds", "mean client, last round", "on own classes", "worst client",
    "difference to FedAvg, last round", "all rounds", "lowest any client sees",
    "largest drop", "on own classes", "rounds to FedAvg's end − 1",
)  # fmt: skip


def groups(done: Mapping[str, Run]) -> dict[tuple[str, ...], dict[str, dict[int, Run]]]:
    """Runs by setting (task, start, split, epochs), strategy and seed."""
    found: dict[tuple[str, ...], dict[str, dict[int, Run]]] = {}
    for key, run in done.items():
        task, split, epochs, start, strategy, seed = key.split("|")
        found.setdefault((task, start, split, epochs), {}).setdefault(strategy, {})[int(seed)] = run
    return dict(sorted(found.items(), key=_place))


def _place(item: tuple[tuple[str, ...], Any]) -> tuple[Any, ...]:
    """Independent starts first; more skew and more epochs later."""
    task, start, split, epochs = item[0]
    return task, start != "independent", 0.0 if split == "IID" else 1 / float(split.split()[1]), int(epochs)


def overview(found: Mapping[tuple[str, ...], Group]) -> str:
    """One line a setting: the mean client's accuracy in the last round, in percent, mean ± deviation over seeds."""
    names = [name for name in STRATEGIES if any(name in group for group in found.values())]
    rows = [
        (words(key, group), *(spread([last(r) for r in group.get(name, {}).values()]) for name in names))
        for key, group in found.items()
    ]
    return table(("setting", *names), rows)


def words(key: tuple[str, ...], group: Group) -> str:
    """A setting in words."""
    _, start, split, epochs = key
    runs = next(iter(group.values()))
    length = len(next(iter(runs.values()))["rounds"])
    return f"{start}, {split}, {epochs} local epoch{'s' * (epochs != '1')}, {length} rounds"


def group_table(by_strategy: Group) -> str:
    """One line a strategy; accuracies in percent, means over its seeds."""
    rows = []
    for name in STRATEGIES:
        if name not in by_strategy:
            continue
        runs = list(by_strategy[name].values())
        worst = mean(100 * min(a for a, _ in r["rounds"][-1]) for r in runs)
        own = mean(100 * mean(a for _, a in r["rounds"][-1]) for r in runs)
        reference = by_strategy.get("FedAvg", {})
        pairs = [(run, reference[seed]) for seed, run in by_strategy[name].items() if seed in reference]
        other = [] if name == "FedAvg" else pairs
        rows.append((
            name, str(len(runs)), spread([last(r) for r in runs]), f"{own:.1f}", f"{worst:.1f}",
            interval([last(r) - last(f) for r, f in other]), interval([whole(r) - whole(f) for r, f in other]),
            f"{min(100 * a for r in runs for row in r['rounds'] for a, _ in row):.1f}",
            f"{max(drop(r) for r in runs):.1f}", f"{max(drop(r, 1) for r in runs):.1f}",
            median_rounds([rounds_to(r, f) for r, f in pairs]),
        ))  # fmt: skip
    return table(HEAD, rows)


def last(run: Run) -> float:
    """The mean client's accuracy in the last round, in percent."""
    return 100 * mean(a for a, _ in run["rounds"][-1])


def whole(run: Run) -> float:
    """The mean client's accuracy over all rounds, in percent: what clients had from the federation on the way."""
    return 100 * mean(a for row in run["rounds"] for a, _ in row)


def drop(run: Run, which: int = 0) -> float:
    """How far, in points, any client ever falls under the accuracy of its own start; never below 0.

    Args:
        run: start and rounds.
        which: 0 on the test images, 1 on them weighted by the client's own classes.
    """
    gaps = [start[which] - now[which] for row in run["rounds"] for start, now in zip(run["start"], row, strict=True)]
    return 100 * max(0.0, *gaps)


def rounds_to(run: Run, reference: Run) -> float:
    """Rounds until the mean client is within a point of where FedAvg ends; infinite if it is never.

    Not a number where FedAvg ends below the clients' own starts: then there is nothing to reach.
    """
    level = last(reference) - 1
    if level <= 100 * mean(a for a, _ in reference["start"]):
        return math.nan
    for number, row in enumerate(run["rounds"], start=1):
        if 100 * mean(a for a, _ in row) >= level:
            return number
    return math.inf


def median_rounds(rounds: Sequence[float]) -> str:
    """The median over the seeds where there is something to reach."""
    there = sorted(r for r in rounds if not math.isnan(r))
    if not there:
        return "–"
    middle = there[len(there) // 2]
    return "not reached" if math.isinf(middle) else f"{middle:.0f}"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation; empty without values."""
    if not values:
        return ""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def interval(gaps: Sequence[float]) -> str:
    """Mean paired difference with its 95 % interval (Student)."""
    if len(gaps) < 2:
        return f"{mean(gaps):+.1f}" if gaps else ""
    low, middle, high = confidence(gaps)
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"


def draw(found: Mapping[tuple[str, ...], Group], place: str) -> None:
    """Mean client accuracy by round, a panel a setting, averaged over seeds; dotted the worst client of all seeds."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.fonttype"] = "none"
    columns = min(4, len(found))
    lines = -(-len(found) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    for axes, (key, group) in zip(panels, found.items(), strict=False):
        for color, name in enumerate(STRATEGIES):
            runs = list(group.get(name, {}).values())
            if not runs:
                continue
            rows = 100 * np.array([[[a for a, _ in row] for row in [r["start"], *r["rounds"]]] for r in runs])
            axes.plot(rows.mean((0, 2)), color=f"C{color}", lw=1.8 if "LLPF" in name else 0.9, label=name)
            if name in ("FedAvg", OWN_SERVED):
                axes.plot(rows.min((0, 2)), color=f"C{color}", lw=0.7, ls=":")
        axes.set_title(f"{key[1]} starts, {key[2]}, {key[3]} local epoch{'s' * (key[3] != '1')}", fontsize=7)
        axes.set_ylim(0, 101)
        axes.tick_params(labelsize=6)
    figure.axes[0].legend(fontsize=5)
    figure.supxlabel("round (0: the clients' starts; dotted: the worst client of all seeds)", fontsize=7)
    figure.supylabel("test accuracy of the mean client, %", fontsize=7)
    figure.savefig(place)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("federated.json"), help="what federated.py wrote")
    parser.add_argument("--figure", help="picture to write; the suffix says the format")
    add_table(parser)
    asked = parser.parse_args(arguments)
    done = json.loads(asked.json.read_text())
    found = groups(done)
    parts = [f"**{key[0]}, {words(key, group)}**\n\n{group_table(group)}" for key, group in found.items()]
    stamps = [run.get("measured", "an earlier commit") for run in done.values()]
    publish("\n\n".join([overview(found), *parts]), asked.table, arguments, stamps)
    if asked.figure:
        draw(found, asked.figure)


if __name__ == "__main__":
    main()
