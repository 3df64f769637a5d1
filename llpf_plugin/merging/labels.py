"""Which class each output of a classifier stands for: from its configuration, or from the user."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from llpf_plugin.checkpoint import Checkpoint
from llpf_plugin.documents import listed, quoted, read_json
from llpf_plugin.errors import CheckpointError, MismatchError, TaskError
from llpf_plugin.tasks.task import Task

CONFIG = "config.json"


def labels_of(name: str, like: Checkpoint | None, given: Sequence[str] = ()) -> tuple[str, ...]:
    """The labels of a model's outputs, in their order.

    Args:
        name: of the model.
        like: its checkpoint; that of a folder has labels in its ``config.json``.
        given: what the user says of it, empty where nothing is said.

    Raises:
        MismatchError: nobody knows them, or one stands twice.
    """
    labels = tuple(given or _configured(like))
    if not labels:
        raise MismatchError(
            f"no labels are known for {name}: give them with --labels, once for each model, in the order of its outputs"
        )
    if twice := [label for i, label in enumerate(labels) if label in labels[:i]]:
        raise MismatchError(f"the labels of {name} name {quoted(twice[0])} twice: every output is a class of its own")
    return labels


def union_of(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    """The labels of two models: those of the first, then what the second has beside them."""
    return tuple(dict.fromkeys((*one, *other)))


def check_classes(task: Task, known: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    """Refuse models that do not know the classes of a task between them.

    Args:
        task: whose data are to be told apart.
        known: the labels of each model.
        names: of the models.

    Raises:
        TaskError: the task names no classes.
        MismatchError: a model knows a class that the data do not have, or the data have one that no model knows.
    """
    own = quoted(task.name)
    if not task.classes:
        raise TaskError(
            f"{own} names no classes, so that heads cannot be joined: only a classifier has them; in a task of your "
            "own, give Task(…, classes=[…]) in the order of the targets"
        )
    for name, labels in zip(names, known, strict=True):
        if foreign := [label for label in labels if label not in task.classes]:
            raise MismatchError(
                f"the data of {own} have no class {listed(foreign)}, which {name} knows; they have "
                f"{listed(task.classes, 8)}"
            )
    if unknown := [label for label in task.classes if not any(label in labels for labels in known)]:
        raise MismatchError(
            f"the data of {own} have classes that no model knows: {listed(unknown)}; leave their examples out"
        )


def places_of(labels: Sequence[str], rows: int, task: Task, name: str) -> list[int]:
    """The class of the task that each output of a model stands for.

    Args:
        labels: of the model's outputs.
        rows: of the model's head.
        task: which has all these classes.
        name: of the model.

    Raises:
        MismatchError: these are not as many labels as rows.
    """
    if len(labels) != rows:
        raise MismatchError(f"{name} has {rows} outputs, and {len(labels)} labels are given for it")
    return [list(task.classes).index(label) for label in labels]


@contextmanager
def with_labels(like: Checkpoint, labels: Sequence[str]) -> Iterator[Checkpoint]:
    """The form of a checkpoint; a configuration that is written along with it names these classes."""
    configs = [file for file in like.companions if file.name == CONFIG]
    if not configs:
        yield like
        return
    document = _read(configs[0])
    document.pop("num_labels", None)
    document["id2label"] = {str(i): label for i, label in enumerate(labels)}
    document["label2id"] = {label: i for i, label in enumerate(labels)}
    with TemporaryDirectory() as folder:
        config = Path(folder, CONFIG)
        config.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        others = [file for file in like.companions if file.name != CONFIG]
        yield replace(like, companions=(*others, config))


def _configured(like: Checkpoint | None) -> Sequence[str]:
    """The labels of a configuration; none where it names no class."""
    for file in like.companions if like else ():
        if file.name == CONFIG and isinstance(names := _read(file).get("id2label"), dict):
            if all(str(name) == f"LABEL_{number}" for number, name in names.items()):
                return ()
            return [str(names[number]) for number in sorted(names, key=lambda n: int(n) if str(n).isdigit() else -1)]
    return ()


def _read(file: Path) -> dict[str, object]:
    found = read_json(file, CheckpointError)
    return found if isinstance(found, dict) else {}
