"""``llpf merge --heads union``: one classifier of two that know different classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from llpf_cli.config import command_line, config_text
from llpf_cli.options import (
    PATH,
    RUN,
    ComputeOptions,
    GoalOptions,
    MeasureOptions,
    MethodOptions,
    OutputOptions,
    TaskOptions,
    checked,
    option,
    search_options,
)
from llpf_cli.places import folder_of
from llpf_plugin.errors import UsageError
from llpf_plugin.tasks.hugging_face import trusting

if TYPE_CHECKING:
    from rich.console import Console

    from llpf_plugin.merging import Align, Candidate, United

GROUPS = {"A": "A's", "B": "B's", "all": "all"}
"""Headings of the columns: on the examples of whose classes."""


@Parameter(name="*", group=PATH)
@dataclass(frozen=True)
class HeadOptions:
    """Whether the models know different classes, and which."""

    heads: Annotated[
        Literal["same", "union"], option("union: two classifiers with different classes become one [same].")
    ] = "same"
    labels: Annotated[
        list[str],
        option(
            "Of union, for each model: its outputs' labels, a,b,c or a file [config.json's].",
            negative="", consume_multiple=False,
        ),
    ] = field(default_factory=list)  # fmt: skip

    def joined(self, model: str | None) -> bool:
        """Whether heads are joined.

        Raises:
            UsageError: that cannot be done without a task; or there are labels, and nothing to do with them.
        """
        if self.labels and self.heads == "same":
            raise UsageError("--labels says what the heads are that --heads union joins: add it, or leave both out")
        if model is not None and self.heads == "union":
            raise UsageError("--heads union needs data: give --task in place of --model")
        return self.heads == "union"


def union(
    models: Sequence[str], state: str | None, task: TaskOptions, heads: HeadOptions, method: MethodOptions,
    align: "Align", pick: str, goal: GoalOptions, measure: MeasureOptions, output: OutputOptions,
    compute: ComputeOptions, needless: Mapping[str, bool],
) -> int:  # fmt: skip
    """Join two classifiers, and show what was tried.

    Args:
        models: two checkpoints.
        state: which weights of each.
        task: that tells all classes apart.
        heads: the labels of each model.
        method: by which the path is searched.
        align: whether B is aligned first.
        pick: the point of the path.
        goal: of the search, and what every way may cost.
        measure: how a path is measured.
        output: a folder that does not exist, or is empty.
        compute: device and precision.
        needless: flags that mean nothing here.

    Raises:
        UsageError: something else than two models, or than labels for both.
        LLPFError: labels, heads and data do not meet, or the folder is in use.
    """
    given = _checked(models, heads.labels, [flag for flag, said in needless.items() if said])
    search, out = search_options(goal, measure), folder_of(output.out, RUN)
    (name, arguments), made = task.named(models[0]), method.made()
    from llpf_cli.results import show_notes, show_place
    from llpf_cli.terminal import terminal
    from llpf_plugin import load_task
    from llpf_plugin.files import write_text
    from llpf_plugin.merging import Source, labels_of, union_of, unite
    from llpf_plugin.quality import check_pick

    with checked():
        check_pick(pick)
    console, sources = terminal(), [Source.of(model, state=state) for model in models]
    show_notes(console, sources)
    known = [labels_of(one.name, one.like, own) for one, own in zip(sources, given or [(), ()], strict=True)]
    if name in ("hf/text-classification", "hf/image-classification"):  # whose network comes from A, with A's classes
        arguments.setdefault("labels", list(union_of(*known)))
    with trusting(task.trust):
        loaded = load_task(name, arguments)
    united = unite(
        sources, loaded, made, labels=known, pick=pick, align=align, out=out,
        compute=compute.made(), info={"command": command_line()}, told=partial(_say, console), **search,
    )  # fmt: skip
    said = config_text(
        "merge", models=models, state=state, task=task, heads=heads, method=method, goal=goal,
        align=None if align == "auto" else align, pick=None if pick == "best" else pick, measure=measure,
        output=replace(output, out=out), compute=compute,
    )  # fmt: skip
    write_text(out / "config.yaml", said)
    _show(console, united)
    show_place(console, "merged model", united.file)
    return 0


def _checked(models: Sequence[str], labels: Sequence[str], needless: Sequence[str]) -> list[Sequence[str]]:
    """The labels of each model, as far as they were said."""
    from llpf_plugin.ranks import together

    if len(models) != 2:
        raise UsageError(f"--heads union joins two models, and {len(models)} are named: join the third to the result")
    if len(labels) not in (0, 2):
        raise UsageError("--labels must be given once for each model: --labels cat,dog --labels bird,fish")
    if together():
        raise UsageError("--heads union runs in one process: leave torchrun out")
    if needless:
        raise UsageError(f"{needless[0]} does not go with --heads union: leave it out")
    return [_labels(word) for word in labels]


def _labels(word: str) -> list[str]:
    """The labels that a word names: those of a file, one a line, or the word itself, with commas between."""
    if not Path(word).is_file():
        return [label.strip() for label in word.split(",")]
    try:
        text = Path(word).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels {word}: it is not a text in UTF-8: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _say(console: "Console", candidate: "Candidate") -> None:
    """One line for a network that has just been judged."""
    told = candidate.failed or f"{_cell(candidate, 'validation', 'all')} on validation data, all classes"
    console.print(f"{candidate.name}: {told}", highlight=False, markup=False, soft_wrap=True)


def _show(console: "Console", united: "United") -> None:
    """What was tried, one line each, and what was chosen."""
    from rich import box
    from rich.table import Table

    split = "test" if "test" in united.parents[0].scores else "validation"
    table = Table(box=box.SIMPLE_HEAD, title=f"accuracy on {split} data, by classes", title_justify="left")
    for i, head in enumerate(("", "steps", *GROUPS.values(), "validation")):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    for one in (*united.parents, *united.candidates):
        steps = "" if one in united.parents else str(one.steps)
        cells = (_cell(one, split, group) for group in GROUPS)
        style = "bold" if one.name == united.chosen else None
        table.add_row(one.name, steps, *cells, _cell(one, "validation", "all"), style=style)
    console.print(table)
    for note in united.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    told = f"best on validation data: {united.chosen}; it knows {len(united.classes)} classes"
    console.print(told, highlight=False, markup=False)


def _cell(candidate: "Candidate", split: str, group: str) -> str:
    score = candidate.scores.get(split, {}).get(group)
    if score is None:
        return "–"
    return f"loss {score.loss:.4g}" if score.accuracy is None else f"{score.accuracy:.2%}"
