"""What a chosen first model gains from independent starts: beside fresh weights, and beside the largest client's model.

Reads what `federated.py` wrote. Differences are paired over seeds, in points of the mean client's test accuracy, with
95 % intervals of Student's t.

    python benchmarks/federated_first.py --json digits.json
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from federated_report import Group, groups, interval, last, spread, whole, words
from provenance import add_table, publish
from shared import table
from strategies import STRATEGIES, chosen, fresh, largest_first

HEAD = ("", "seeds", "first round", "last round", "all rounds")


def accuracies(group: Group) -> str:
    """A line a strategy: the mean client's accuracy in percent, mean ± deviation over the seeds."""
    rows = []
    for name in [name for name in STRATEGIES if name in group]:
        runs = list(group[name].values())
        first = [100 * sum(a for a, _ in run["rounds"][0]) / len(run["rounds"][0]) for run in runs]
        taken = Counter(run["first"] for run in runs if run.get("first") and chosen(name))
        took = f" ({', '.join(f'{n} × {what}' for what, n in taken.most_common())})" if taken else ""
        ends, all_rounds = spread([last(run) for run in runs]), spread([whole(run) for run in runs])
        rows.append((name + took, str(len(runs)), spread(first), ends, all_rounds))
    return table(HEAD, rows)


def differences(group: Group) -> str:
    """Of the chosen first model to the baselines, with and without momentum of the server alike."""
    rows = []
    for name in filter(chosen, group):
        momentum = name.endswith("momentum")
        others = [n for n in group if (fresh(n) or largest_first(n) or n.startswith("LLPF")) and not chosen(n)]
        for other in [n for n in others if (n.startswith("FedAvgM") or n.endswith("momentum")) == momentum]:
            pairs = [(run, group[other][seed]) for seed, run in group[name].items() if seed in group[other]]
            gaps = [[f(a) - f(b) for a, b in pairs] for f in (last, whole)]
            rows.append((f"{name} − {other}", str(len(pairs)), *map(interval, gaps)))
    return table(("", "seeds", "last round", "all rounds"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("federated.json"), help="what federated.py wrote")
    add_table(parser)
    asked = parser.parse_args(arguments)
    done = json.loads(asked.json.read_text())
    found = {key: group for key, group in groups(done).items() if any(map(chosen, group))}
    parts = [f"**{words(key, group)}**\n\n{accuracies(group)}\n\n{differences(group)}" for key, group in found.items()]
    publish(
        "\n\n".join(parts), asked.table, arguments, [run.get("measured", "an earlier commit") for run in done.values()]
    )


if __name__ == "__main__":
    main()
