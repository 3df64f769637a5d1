"""Checkpoints that nobody meant well with: read rightly or refused in one sentence, soon, and in little memory."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import merge, method
from helpers.forged import (
    called,
    integer,
    nested_lists,
    rezipped,
    safetensors_file,
    text,
    torch_file,
    with_attribute,
)
from helpers.reader import Reader, reader

from llpf_plugin.checkpoint import read

FREE = 256 << 20
"""Bytes that reading may take beside four times the file's size."""

ANSI = "\x1b[31m\x1b]0;owned\x07\x1b[2J"


@pytest.fixture(scope="module")
def server() -> Iterator[Reader]:
    with reader() as one:
        yield one


def weights() -> dict[str, torch.Tensor]:
    return tiny.pair("mlp")[0]


def well_read(server: Reader, place: Path) -> None:
    """The weights came out whole, or there was one sentence; either way soon and in little memory."""
    found = server.read(place)
    assert found["error"] in (None, "CheckpointError"), found
    size = place.stat().st_size if place.is_file() else sum(p.stat().st_size for p in place.iterdir())
    assert found["grown"] <= FREE + 4 * size, f"{found['grown'] >> 20} MB"
    if found["error"]:
        assert found["message"].isprintable() and len(found["message"]) < 1000, found
    else:
        assert found["shapes"] == {name: list(tensor.shape) for name, tensor in weights().items()}


def test_an_ordinary_file_is_well_read(server: Reader, tmp_path: Path) -> None:
    well_read(server, torch_file(tmp_path / "a.pt", weights(), text("nothing")))


EXTRAS = {
    "lists, nested": nested_lists(1000),
    "an OrderedDict whose items is a string": with_attribute(called("collections OrderedDict"), "items"),
    "bytes by number": called("builtins bytearray", integer(600_000_000)),
    "a fraction with a large exponent": called("fractions Fraction", text("1e99999999")),
    "a range, written out": called(
        "builtins str", called("builtins list", called("builtins range", integer(10_000_000)))
    ),
}


@pytest.mark.parametrize("name", EXTRAS)
def test_what_lies_beside_the_weights_costs_nothing(server: Reader, tmp_path: Path, name: str) -> None:
    well_read(server, torch_file(tmp_path / "a.pt", weights(), EXTRAS[name]))


def test_a_list_that_holds_itself(server: Reader, tmp_path: Path) -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    torch.save({"state_dict": weights(), "x": cycle}, tmp_path / "a.pt")
    well_read(server, tmp_path / "a.pt")


def test_lists_that_hold_each_other_twice(server: Reader, tmp_path: Path) -> None:
    laughs: list[object] = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    torch.save({"state_dict": weights(), "x": laughs}, tmp_path / "a.pt")
    well_read(server, tmp_path / "a.pt")


@pytest.mark.parametrize("side", [36_000, 1_000_000])
def test_one_number_that_stands_for_terabytes(server: Reader, tmp_path: Path, side: int) -> None:
    torch.save({"w": torch.zeros(1).expand(side, side)}, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").stat().st_size < 2000
    well_read(server, tmp_path / "a.pt")


@pytest.mark.parametrize(
    "index",
    [
        pytest.param("[" * 200_000 + "]" * 200_000, id="deep"),
        pytest.param(json.dumps({"weight_map": {f"{i}.weight": 5000 * "x" for i in range(10)}}), id="long"),
    ],
)
def test_an_index_of_shards_that_nobody_wrote(server: Reader, tmp_path: Path, index: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(index)
    well_read(server, folder)


def test_a_file_that_was_unzipped_and_zipped_again_is_read_as_it_is(tmp_path: Path) -> None:
    torch.save({"state_dict": weights()}, tmp_path / "a.pt")
    found = read(rezipped(tmp_path / "a.pt", tmp_path / "again.pt")).weights
    assert tiny.same(found, weights())


# ---- what is read, and cannot be merged


def merged(folder: Path, place: Path) -> str:
    """What the user sees; there is a merged model, or one message and no run."""
    torch.save(tiny.pair("mlp")[1], folder / "b.pt")
    result = merge(
        place, folder / "b.pt", "--task", f"{tiny.__file__}:mlp", "-o", folder / "run", "--tolerance", 0.5, "--budget",
        5, "--points", 1, "--no-report", *method("llpf", phases="all"),
    )  # fmt: skip
    assert not result.traceback, result.err
    if result.code == 1:
        assert result.err.startswith("llpf merge: ") and not (folder / "run").exists(), result.text
    else:
        assert result.code in (0, 3) and (folder / "run" / "merged.pt").is_file(), result.text
    return result.text


def test_a_namespace_that_cannot_be_pickled_again(tmp_path: Path) -> None:
    merged(
        tmp_path,
        torch_file(tmp_path / "a.pt", weights(), with_attribute(called("argparse Namespace"), "__reduce_ex__")),
    )


def test_a_tensor_in_float8(tmp_path: Path) -> None:
    torch.save({**weights(), "0.weight": weights()["0.weight"].to(torch.float8_e4m3fn)}, tmp_path / "a.pt")
    merged(tmp_path, tmp_path / "a.pt")


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch knows no float4")
def test_a_tensor_in_float4(tmp_path: Path) -> None:
    merged(tmp_path, safetensors_file(tmp_path / "a.safetensors", "w", "F4", (2, 2), 2))


def test_a_tensor_of_65_dimensions(tmp_path: Path) -> None:
    merged(tmp_path, safetensors_file(tmp_path / "a.safetensors", "w", "F32", 64 * (1,) + (4,), 16))


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_names_with_control_characters_are_escaped(tmp_path: Path, suffix: str) -> None:
    if suffix == "pt":
        torch.save({**weights(), ANSI: torch.zeros(3)}, tmp_path / "a.pt")
    else:
        safetensors_file(tmp_path / "a.safetensors", ANSI, "F32", (2, 2), 16)
    seen = merged(tmp_path, tmp_path / f"a.{suffix}")
    assert "owned" in seen and "\x1b" not in seen and "\x07" not in seen, repr(seen)
