"""The knots of a run: one file each."""

from pathlib import Path

import pytest
import torch
from helpers import tiny

from llpf_plugin.errors import RunError
from llpf_plugin.runs import KnotFolder, tensors


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_knots_are_files_that_go_only_when_they_are_swept(tmp_path: Path) -> None:
    knots = KnotFolder(tmp_path / "knots")
    weights = {"w": torch.arange(6.0).view(2, 3).t(), "half": torch.ones(2, dtype=torch.bfloat16)}
    knots.put(12, weights)
    knots.put(3, {"w": torch.zeros(1)})
    assert files(tmp_path) == ["knots/000003.safetensors", "knots/000012.safetensors"]
    assert tiny.same(knots.get(12), {k: t.contiguous() for k, t in weights.items()})
    knots.discard([3, 99])
    assert knots.get(3)["w"].tolist() == [0.0]  # a saved state may still name it
    knots.sweep()
    assert files(tmp_path) == ["knots/000012.safetensors"]
    with pytest.raises(RunError, match=r"000003\.safetensors is missing"):
        knots.get(3)


def test_a_damaged_knot_is_named(tmp_path: Path) -> None:
    knots = KnotFolder(tmp_path)
    knots.put(1, {"w": torch.zeros(4)})
    (tmp_path / "000001.safetensors").write_bytes(b"{")
    with pytest.raises(RunError, match=r"000001\.safetensors cannot be read .*damaged"):
        knots.get(1)


def test_a_knot_that_changed_is_noticed_whether_it_was_read_before_or_not(tmp_path: Path) -> None:
    knots = KnotFolder(tmp_path, strict=True)
    for knot in (1, 2):
        knots.put(knot, {"w": torch.full((4,), float(knot))})
    assert knots.get(1)["w"].tolist() == [1.0] * 4
    one, two = ((tmp_path / f"00000{knot}.safetensors") for knot in (1, 2))
    one.rename(tmp_path / "kept")
    two.rename(one)
    (tmp_path / "kept").rename(two)
    for knot in (1, 2):
        for folder in (knots, KnotFolder(tmp_path)):
            with pytest.raises(RunError, match=rf"00000{knot}\.safetensors is not what the run wrote"):
                folder.get(knot)


def test_a_knot_is_not_digested_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digested: list[object] = []
    digest = tensors.digest_weights
    monkeypatch.setattr(tensors, "digest_weights", lambda own, to: (digested.append(own), digest(own, to))[1])
    knots = KnotFolder(tmp_path, strict=True)
    knots.put(1, {"w": torch.zeros(4)})
    assert [knots.get(1)["w"].sum().item() for _ in range(3)] == [0.0] * 3 and len(digested) == 1
    again = KnotFolder(tmp_path, strict=True)
    assert [again.get(1)["w"].sum().item() for _ in range(3)] == [0.0] * 3 and len(digested) == 2


def test_a_knot_that_was_discarded_before_it_was_on_the_disk_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[str] = []
    monkeypatch.setattr("llpf_plugin.files._flush", lambda place: waited.append(place.name))
    knots = KnotFolder(tmp_path / "knots")
    for knot in (1, 2, 3):
        knots.put(knot, {"w": torch.zeros(4)})
    knots.discard([1, 3])
    assert waited == []
    knots.flush()
    assert waited == ["000002.safetensors", "knots"]
    knots.flush()
    assert waited == ["000002.safetensors", "knots"]
