"""What tests look at in a run's folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, byte for byte."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def bits(folder: Path) -> dict[str, bytes]:
    """Every knot and every merged model, byte for byte: what two runs that are the same share."""
    return {k: v for k, v in contents(folder).items() if Path(k).parent.name == "knots" or "merged" in Path(k).name}


def read(folder: Path, name: str = "quality") -> Any:
    """One of its JSON documents."""
    return json.loads((folder / f"{name}.json").read_text())


def edit(place: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON document in place."""
    document = json.loads(place.read_text())
    change(document)
    place.write_text(json.dumps(document))


def maximum(folder: Path) -> float:
    """The dense maximum of the training loss that the run's verdict has."""
    return float(read(folder)["metrics"]["train"]["dense_maximum"]["value"])


def record(folder: Path) -> list[dict[str, Any]]:
    """The ticks of a run."""
    return list(read(folder, "state")["progress"]["record"])
