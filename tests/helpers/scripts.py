"""Where the console scripts begin, as ``pyproject.toml`` says: those of this source tree, installed or not."""

import sys
import tomllib
from importlib import import_module
from pathlib import Path


def run(command: str) -> object:
    """Do what the console script of this name does with ``sys.argv[1:]``."""
    sys.argv[0] = command
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    module, function = project["project"]["scripts"][command].split(":")
    return getattr(import_module(module), function)()


if __name__ == "__main__":
    del sys.path[0], sys.argv[0]  # this folder, and this file
    sys.exit(run(sys.argv[0]))  # type: ignore[arg-type]
