"""``quality.json``: the verdict of a run, every measured point, and the scores of the merged model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llpf_plugin.errors import RunError
from llpf_plugin.evaluation.answers import Score
from llpf_plugin.files import plain, write_json
from llpf_plugin.records import Record, Row
from llpf_plugin.runs.document import read_json, unreadable
from llpf_plugin.runs.tensors import file_digest

FILE = "quality.json"


@dataclass(frozen=True)
class MergedModel(Record):
    """The merged model of a run.

    Attributes:
        file: its name in the run's folder.
        t: its position on the path.
        scores: by split, None where the task has no such data.
        beside: how it compares with A and with B, in a sentence.
        digest: of the file as it was written, None where that is not known.
        notes: what else is to be known of it, in sentences.
    """

    file: str
    t: float
    scores: Mapping[str, Score | None] = field(default_factory=dict)
    beside: str = ""
    digest: str | None = None
    notes: Sequence[str] = ()

    @property
    def judged_on(self) -> str:
        """The split that speaks for it: test, validation or training data, the first there is."""
        return next((s for s in ("test", "validation", "train") if self.scores.get(s)), "train")


@dataclass(frozen=True)
class Verdict(Record):
    """What a run's ``quality.json`` says; numbers that were not finite are infinite.

    Attributes:
        connected: whether the pair is.
        maximum: the highest training loss of all measured points.
        integral: the mean training loss over the path.
        sample: training examples of every measurement, None for all.
        merged: the merged model, None where the file does not say.
    """

    connected: bool
    maximum: float
    integral: float
    sample: int | None = None
    merged: MergedModel | None = None


def write_verdict(folder: Path, summary: Mapping[str, Any], merged: MergedModel, points: Sequence[Row]) -> None:
    """Write the verdict of a run and of the model that was picked from its path.

    Args:
        folder: of the run.
        summary: numbers and sentences of the verdict, as `llpf_plugin.quality.Quality.summary` gives them.
        merged: the model that was picked.
        points: every measured point of the path.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    document = {**summary, "merged": merged.to_json(), "points": [row.to_json() for row in points]}
    write_json(folder / FILE, plain(document))


def read_verdict(folder: Path) -> Verdict:
    """The verdict of a finished run, of any version.

    Raises:
        RunError: there is none, or it was edited or damaged.
    """
    document = read_json(folder / FILE)
    try:
        metrics = document["metrics"]["train"]
        maximum, integral = (_number(metrics[name]["value"]) for name in ("dense_maximum", "integral"))
        known = {"maximum": maximum, "integral": integral, "merged": _merged(document)}
        return Verdict.from_json({**document, **known})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(folder / FILE, error) from error


def written_model(folder: Path, t: float) -> Path | None:
    """The file of a merged model that was written before, None if there is none of this position on the path.

    Raises:
        RunError: the file is not the one that was written; whoever continues from it would not notice.
    """
    before = read_verdict(folder).merged if (folder / FILE).is_file() else None
    if before is None or before.t != t or not before.file or Path(before.file).name != before.file:
        return None
    place = folder / before.file
    if place.exists() and before.digest not in (None, file_digest(place)):
        raise RunError(
            f"{place} is not what the run wrote: it was edited or damaged; move it elsewhere, and --resume writes it "
            "again"
        )
    return place if place.exists() else None


def _merged(document: Mapping[str, Any]) -> MergedModel | None:
    merged = document.get("merged")
    if not merged:
        return None
    scores = {
        split: None if score is None else Score(_number(score["loss"]), score["accuracy"])
        for split, score in merged.get("scores", {}).items()
    }
    words, notes = str(merged.get("beside", "")), tuple(map(str, merged.get("notes", ())))
    return MergedModel(str(merged.get("file", "")), float(merged["t"]), scores, words, merged.get("digest"), notes)


def _number(value: Any) -> float:
    """What a file says; null is not finite."""
    return math.inf if value is None else float(value)
