"""The model card of a merged folder: what was merged, how, and the verdict."""

from collections.abc import Sequence
from pathlib import Path

from llpf_plugin.checkpoint.folders import CARD, CARD_HEAD
from llpf_plugin.documents import listed, visible
from llpf_plugin.evaluation.answers import Score
from llpf_plugin.files import write_text
from llpf_plugin.quality.verdict import Picked, Quality
from llpf_plugin.runs.tree import Join
from llpf_plugin.version import written_by


def write_card(
    folder: Path, names: Sequence[str], method: str, quality: Quality, picked: Picked, notes: Sequence[str]
) -> None:
    """Write ``README.md`` into a merged folder.

    Args:
        folder: of the merged model.
        names: of the two models.
        method: that found the path.
        quality: of the path.
        picked: the merged model.
        notes: more to say of the merge.
    """
    connected = "connected" if quality.connected else "not connected"
    _write(folder, [
        *_head([Path(name).name or name for name in names]),
        f"The point t = {picked.t:.3g} of a path from {' to '.join(f'`{name}`' for name in names)}, found by "
        f"`{method}` of {written_by()} on the task `{quality.workspace.task.name}`.", "",
        f"The two are {connected} by the paper's criteria (arXiv 2505.02604):", "",
        *(f"- {one.name}: {one.sentence}" for one in quality.criteria), "",
        "| | loss | accuracy |", "|---|---:|---:|",
        *(f"| merged, {split} | {_cells(score)} |" for split, score in picked.scores.items() if score is not None), "",
        *notes,
    ])  # fmt: skip


def write_tree_card(folder: Path, names: Sequence[str], joins: Sequence[Join]) -> None:
    """`write_card` of more than two models, with what became of every pair."""
    rows = (
        f"| {join.node.name} | {'yes' if join.connected else 'no'} | {join.maximum:.4g} | {join.scores['merged']} | "
        f"{join.goes_on} |"
        for join in joins
    )
    _write(folder, [
        *_head([Path(name).name or name for name in names]),
        f"Merged pair by pair by {written_by()}, each along a path of low training loss (arXiv 2505.02604).", "",
        "| models | connected | highest training loss | merged | advances |", "|---|---|---:|---:|---|", *rows,
    ])  # fmt: skip


def write_union_card(folder: Path, names: Sequence[str], way: str, task: str, classes: Sequence[str]) -> None:
    """`write_card` of two classifiers with different classes that became one.

    Args:
        folder: of the network.
        names: of the two.
        way: by which it was made, in words.
        task: whose validation data chose it.
        classes: that it knows.
    """
    _write(folder, [
        *_head([Path(name).name or name for name in names]),
        f"One classifier of {' and '.join(f'`{name}`' for name in names)}, which know different classes, made by "
        f"{written_by()} on the task `{task}`. Of what was tried, this was the best on validation data: {way}.", "",
        f"It knows {len(classes)} classes: {listed(classes, 50)}.",
    ])  # fmt: skip


def _head(names: Sequence[str]) -> list[str]:
    return [*CARD_HEAD.splitlines(), "", f"# Merge of {' and '.join(names)}", ""]


def _write(folder: Path, lines: Sequence[str]) -> None:
    write_text(folder / CARD, "\n".join(visible(line) for line in lines).rstrip() + "\n")


def _cells(score: Score) -> str:
    return f"{score.loss:.4g} | {'–' if score.accuracy is None else f'{score.accuracy:.2%}'}"
