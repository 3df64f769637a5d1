"""Texts and tables from files: UTF-8, csv, JSON lines, and folders of the `datasets` library."""

import csv
import importlib
from pathlib import Path
from typing import Any

from llpf_plugin.documents import parse_json
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.foreign import explained
from llpf_plugin.tasks.hugging_face.folder import Folder

_SAVED = ("dataset_dict.json", "state.json")
"""What a folder has that `datasets` saved: several splits, or one."""


def rows_of(folder: Folder, data: str | None, label: str) -> tuple[Path, list[dict[str, Any]]]:
    """The examples of a table, and where it lies.

    Args:
        folder: for what the argument is.
        data: a file, or a folder that ``save_to_disk`` wrote, of which the training split is taken.
        label: the column of labels: numbers that `datasets` has names for come as these, if the head has them too.

    Raises:
        TaskError: there is no such place, or it cannot be read.
    """
    place = Path(str(data))
    if data is None or not any((place / name).is_file() for name in _SAVED):
        return (file := file_of(data, "data", folder)), _rows(file)
    try:
        library = importlib.import_module("datasets")
    except ImportError as error:
        raise TaskError(f"data = {data}: to read what datasets has saved, pip install datasets") from error
    with explained(f"reading {place}", TaskError):
        found = library.load_from_disk(str(place))
        found = found if hasattr(found, "features") else found["train"]
        rows, names = found.to_list(), getattr(found.features.get(label), "names", None)
    if names and {*names} <= {str(name) for name in folder.config.label2id}:
        rows = [{**row, label: names[row[label]]} for row in rows]
    return place, rows


def file_of(name: str | None, key: str, folder: Folder) -> Path:
    """The file that an argument of a task names.

    Raises:
        TaskError: it names none, or none that there is.
    """
    if name is None:
        raise TaskError(f"{folder.task} needs data: give -t {key}=FILE")
    if not Path(str(name)).is_file():
        raise TaskError(f"{key} = {name}: there is no such file")
    return Path(str(name))


def read(place: Path) -> str:
    """A text.

    Raises:
        TaskError: it is none in UTF-8.
    """
    try:
        return place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{place} is not a text in UTF-8: {error}") from error


def _rows(place: Path) -> list[dict[str, Any]]:
    """The examples of a file."""
    text = read(place)
    if place.suffix != ".jsonl":
        return list(csv.DictReader(text.splitlines(keepends=True)))
    lines = enumerate(text.splitlines(), start=1)
    rows = [parse_json(line.encode(), TaskError, f"line {i} of {place}") for i, line in lines if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise TaskError(f"{place} is not a file of one JSON object a line")
    return rows
