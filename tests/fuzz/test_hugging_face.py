"""Changed folders of transformers: merged, checked and ordered, or refused in one sentence."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

from fuzz import hugging_face
from fuzz.jobs import Jobs


@pytest.fixture(scope="module")
def base(server: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("folders")
    hugging_face.base(place)
    server.load(*hugging_face.IMPORTED)
    return place


@pytest.mark.parametrize("first", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(6, 300, 6))])
def test_changed_folders_of_transformers(server: Jobs, base: Path, tmp_path: Path, first: int) -> None:
    wrong = {}
    for seed in range(first, first + 6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        line = hugging_face.words(seed, base, folder)
        if found := server.do(folder, *line).faults():
            wrong[f"{seed} {line[0]}"] = found
        shutil.rmtree(folder)
    assert not wrong, "\n".join(f"{seed}: {found}" for seed, found in wrong.items())
