"""Tables of what `usefulness.py` measures: accuracies of merges, and paired differences between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from shared import confidence, table


@dataclass(frozen=True)
class Result:
    """One row's method on one pair.

    Attributes:
        family: what was run to get it.
        steps: gradient steps on the joint data.
        networks: that an answer asks.
        t: where a point was chosen on its path.
        scores: accuracies and losses by split.
        seconds: of the whole family.
    """

    split: str
    pair: int
    family: str
    method: str
    steps: int
    networks: int
    t: float | None
    scores: Mapping[str, float]
    seconds: float


def interval(gaps: Sequence[float]) -> str:
    """The mean of paired differences with its 95 % interval (Student's t)."""
    if len(gaps) < 2:
        return "".join(f"{gap:+.2f} (1 pair)" for gap in gaps)
    low, middle, high = confidence(gaps)
    return f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"


def by_method(results: Sequence[Result], split: str, order: Sequence[str]) -> dict[str, dict[int, Result]]:
    """The results of a split by method, in the families' order, and by pair."""
    mine = sorted((r for r in results if r.split == split and r.family in order), key=lambda r: order.index(r.family))
    return {m: {r.pair: r for r in mine if r.method == m} for m in dict.fromkeys(r.method for r in mine)}


def summary(found: Mapping[str, Mapping[int, Result]], ours: Sequence[str]) -> str:
    """One row per method: test accuracy over the pairs, and by how many points each of ``ours`` is better."""
    rows = []
    for method, own in found.items():
        test = {pair: 100 * r.scores["test"] for pair, r in own.items()}
        pairs = [[p for p in test if p in found.get(our, {})] for our in ours]
        gaps = [
            [100 * found[our][p].scores["test"] - test[p] for p in some] for our, some in zip(ours, pairs, strict=True)
        ]
        rows.append((
            method, f"{mean(test.values()):.2f}", f"{min(test.values()):.2f}",
            *("" if method == our else interval(gap) for our, gap in zip(ours, gaps, strict=True)),
            f"{mean(r.steps for r in own.values()):.0f}", str(max(r.networks for r in own.values())),
            " ".join(f"{r.t:.2f}" for r in own.values() if r.t is not None),
        ))  # fmt: skip
    head = ("method", "test, mean", "worst", "LLPF's point − this", "finetuned − this", "steps", "networks", "t")
    return table(head, rows)


def tuning(found: Mapping[str, Mapping[int, Result]]) -> str:
    """One row a setting that was tried: validation accuracy and loss, means over the pairs."""
    rows = []
    for method, own in found.items():
        seen = [(r.scores["validation"], r.scores["validation_loss"], r.steps) for r in own.values()]
        accuracy, loss, steps = (mean(values) for values in zip(*seen, strict=True))
        rows.append((method, f"{100 * accuracy:.2f}", f"{loss:.4f}", f"{steps:.0f}"))
    return table(("tried", "validation accuracy", "validation loss", "steps"), rows)
