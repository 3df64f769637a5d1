"""Changed files of a federation: resumed, or refused in one sentence."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from fuzz import federated
from fuzz.jobs import Jobs


@pytest.fixture(scope="module")
def base(server: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("federation") / "base"
    place.mkdir()
    server.load("fuzz.federated")
    federated.base(place)
    return place


@pytest.mark.parametrize("first", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(20, 400, 20))])
def test_changed_files_of_a_federation(server: Jobs, base: Path, tmp_path: Path, first: int) -> None:
    wrong = {}
    for seed in range(first, first + 20):
        for function in ("use", "serve"):
            folder = tmp_path / str(seed)
            shutil.copytree(base, folder)
            federated.change(seed, folder)
            if found := server.call(f"fuzz.federated:{function}", folder).faults():
                wrong[f"{seed} {function}"] = found
            shutil.rmtree(folder)
    assert not wrong, "\n".join(f"{seed}: {found}" for seed, found in wrong.items())
