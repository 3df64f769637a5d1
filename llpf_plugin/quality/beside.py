"""The merged model beside the two that it was made of: is it better than either, on data that it was not walked on?"""

from collections.abc import Mapping

from llpf_plugin.evaluation.point import Score
from llpf_plugin.quality.origin import OriginQuality
from llpf_plugin.quality.verdict import Picked, Quality

SPLITS = ("validation", "test")
"""The splits that the merged model is compared on; on training data where there are neither."""


def beside_ends(quality: Quality, picked: Picked) -> str:
    """One sentence: how the picked model compares with A and with B on each split, with the numbers.

    The better one of two models has the higher accuracy, or, of equal accuracy, the lower loss. A path towards the
    origin has one model only, and no such sentence.
    """
    if isinstance(quality, OriginQuality):
        return ""
    splits = [split for split in SPLITS if picked.scores.get(split)] or ["train"]
    parts = []
    for split in splits:
        rows = {name: quality.ends[name] for name in ("A", "B")}
        scores = {name: Score(row[split], row[f"{split}_accuracy"]) for name, row in rows.items()}
        parts.append(_one(split, picked.scores[split], scores))
    return f"the merged model is {', and '.join(parts)}"


def _one(split: str, merged: Score | None, ends: Mapping[str, Score]) -> str:
    assert merged is not None
    ranks, own = [rank(score) for score in ends.values()], rank(merged)
    place = "better than both" if own < min(ranks) else "worse than both" if own > max(ranks) else "between"
    numbers = "; ".join([_words(merged), *(f"{name} {_words(score)}" for name, score in ends.items())])
    data = "training" if split == "train" else split
    return f"{place} A and B on {data} data ({numbers})"


def rank(score: Score | None) -> tuple[float, float]:
    """What models are ordered by, the best first: more correct answers, then the lower loss; NaN comes last."""
    if score is None or score.loss != score.loss:
        return (1.0, float("inf"))
    return (-(score.accuracy or 0.0), score.loss)


def _words(score: Score) -> str:
    loss = f"loss {score.loss:.4g}"
    return loss if score.accuracy is None else f"{score.accuracy:.2%}, {loss}"
