"""``llpf-mergekit-yaml``: mergekit's own command, with ``llpf_sphere`` and ``llpf_aligned`` among its methods.

mergekit parses the command line and merges. What is added: both methods, the recipe is read before anything is done,
and the folder appears whole or not at all.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from llpf_mergekit import register
from llpf_mergekit.recipe import Recipe
from llpf_plugin.documents import visible
from llpf_plugin.errors import LLPFError, RunError
from llpf_plugin.files import atomic_folder, is_empty
from llpf_plugin.runs import held_file
from llpf_plugin.tasks import explained
from llpf_plugin.tasks.hugging_face import trusting

NAME = "llpf-mergekit-yaml"
CARDS = ("README.md", "mergekit_config.yml")
"""Files in which mergekit writes the recipe."""


def run() -> None:
    """The console script."""
    code, message = 0, ""
    try:
        register()
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:
        code, message = 130, "stopped"
    except LLPFError as error:
        code, message = 1, str(error)
    if message:
        print(visible(f"{NAME}: {message}"), file=sys.stderr)
    sys.exit(code)


def _run(words: list[str]) -> int:
    import click
    from mergekit.scripts.run_yaml import main

    try:
        context = main.make_context(NAME, words)
    except click.exceptions.Exit as done:  # --help
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    recipe, out = Recipe.read(Path(context.params["config_file"])), Path(context.params["out_path"])
    if out.exists() and not is_empty(out):
        raise RunError(f"{out} is there already, and nothing is overwritten: name another place")
    with held_file(out):
        atomic_folder(out, lambda temporary: _merge(context, main, recipe, temporary, out.name), lambda _: False)
    return 0


def _merge(context: Any, main: Any, recipe: Recipe, into: Path, name: str) -> None:
    """Let mergekit merge into a folder.

    Args:
        context: the parsed command line.
        main: mergekit's command.
        recipe: that the command line names.
        into: an empty folder.
        name: that it will have.
    """
    # Beside the folder, for aligned models take as much room as the merged one; goes with what a killed process leaves.
    with TemporaryDirectory(prefix=into.name, dir=into.parent) as beside:
        document, renamed = dict(recipe.document), {into.name: name, **recipe.names}
        if recipe.after:
            places = _aligned(recipe, context.params, Path(beside))
            document = recipe.with_aligned(places)
            renamed |= {str(place): recipe.name(reference) for reference, place in places.items()}
        given = Path(beside) / "recipe.yml"
        given.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        with context, explained("mergekit", RunError):
            context.invoke(main.callback, **context.params | {"out_path": str(into), "config_file": str(given)})
        renamed = {given.read_text(encoding="utf-8"): recipe.file.read_text(encoding="utf-8"), **renamed}
    for file in (into / card for card in CARDS):
        if file.is_file():
            file.write_text(_restored(file.read_text(encoding="utf-8"), renamed), encoding="utf-8")


def _restored(card: str, renamed: Mapping[str, str]) -> str:
    """What mergekit wrote of a recipe, with the recipe and the names as the user gave them."""
    for there in sorted(renamed, key=len, reverse=True):  # no path is taken for the beginning of another one
        card = card.replace(there, renamed[there])
    return card


def _aligned(recipe: Recipe, options: Mapping[str, Any], into: Path) -> dict[Any, Path]:
    """Align the models of a recipe to its base.

    Returns:
        The folder of each, by mergekit's reference.
    """
    from llpf_mergekit.aligned import write_aligned

    others = recipe.others()
    base, *places = (_folder(recipe, one, options["transformers_cache"]) for one in (recipe.config.base_model, *others))
    names = [recipe.name(one) for one in others]
    with trusting(options["trust_remote_code"]):
        written, told = write_aligned(
            (recipe.name(recipe.config.base_model), base), list(zip(names, places, strict=True)), into
        )
    for sentence in told:
        print(visible(sentence))
    return dict(zip(others, written, strict=True))


def _folder(recipe: Recipe, reference: Any, cache: str | None) -> Path:
    """Where a model lies; mergekit fetches what is not a folder here."""
    with explained(f"{recipe.name(reference)} is not a folder here, and fetching it", RunError):
        return Path(reference.local_path(cache_dir=cache))
