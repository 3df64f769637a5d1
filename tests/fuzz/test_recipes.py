"""Changed recipes of mergekit: done, or refused in one sentence."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("mergekit", reason="mergekit is not installed")

from fuzz import recipes
from fuzz.jobs import Jobs

IMPORTED = ("mergekit.merge_methods", "mergekit.plan", "transformers.models.llama.modeling_llama")


@pytest.fixture(scope="module")
def models(server: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models")
    recipes.base(place)
    server.load("fuzz.recipes", "llpf_mergekit.app", "mergekit.scripts.run_yaml", *IMPORTED)
    return place


@pytest.mark.parametrize("first", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(5, 100, 5))])
def test_changed_recipes(server: Jobs, models: Path, tmp_path: Path, first: int) -> None:
    wrong = {}
    for seed in range(first, first + 5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        recipes.written(seed, models, folder / "recipe.yml")
        found = server.call("fuzz.recipes:use", folder / "recipe.yml", env={"HF_HUB_OFFLINE": "1"}).faults()
        left = {file.name for file in folder.iterdir()} - {"recipe.yml", "out"}
        if found or left:
            wrong[seed] = [*found, *sorted(left)]
        shutil.rmtree(folder)
    assert not wrong, "\n".join(f"{seed}: {found}" for seed, found in wrong.items())
