"""What a short pickle can ask for is refused before it is made, whatever the way; what people save is not."""

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.checkpoint_samples import torch_bytes
from helpers.forged import called, integer, text, torch_file, with_attribute

from llpf_plugin.checkpoint import read, write
from llpf_plugin.checkpoint import unpickling as module
from llpf_plugin.checkpoint.unpickling import UnboundedError, check_unpickling
from llpf_plugin.errors import CheckpointError

WEIGHTS = {"w": torch.ones(3)}
MANY = 1000
ENTRY = text("lr") + pickle.NONE + pickle.SETITEM


def put(index: int) -> bytes:
    return pickle.LONG_BINPUT + index.to_bytes(4, "little")


def get(index: int) -> bytes:
    return pickle.LONG_BINGET + index.to_bytes(4, "little")


def long_tuple(length: int) -> bytes:
    return pickle.MARK + pickle.NONE * length + pickle.TUPLE


def doubled(times: int, of: bytes = pickle.NONE) -> bytes:
    """A tuple of twice a tuple of twice a tuple …"""
    made = of
    for i in range(times):
        made += put(500 + i) + get(500 + i) + pickle.TUPLE2
    return made


def again(function: str, argument: bytes, times: int) -> bytes:
    """A list of what a function makes of one and the same argument."""
    one = called(function, get(400))
    return pickle.EMPTY_LIST + argument + put(400) + pickle.APPEND + pickle.MARK + one * times + pickle.APPENDS


def hexed(times: int) -> bytes:
    made = called("_codecs encode", text("x" * 64), text("latin1"))
    for _ in range(times):
        made = called("_codecs encode", made, text("hex"))
    return made


def through(function: str, *arguments: bytes) -> bytes:
    """Called by the function that rebuilds subclasses of tensors."""
    module_name, name = function.split()
    imported = pickle.GLOBAL + f"{module_name}\n{name}\n".encode()
    items = pickle.MARK + b"".join(arguments) + pickle.TUPLE
    return called("torch._tensor _rebuild_from_type_v2", imported, imported, items, pickle.NONE)


BOMBS = {
    "text of hexadecimal digits of hexadecimal digits": hexed(40),
    "bytes by number, for a tensor": through("builtins bytearray", integer(600_000_000)),
    "a set of a long tuple, again and again": again("builtins set", long_tuple(MANY), 20 * MANY),
    "a frozenset, likewise": again("builtins frozenset", long_tuple(MANY), 20 * MANY),
    "a size, likewise": again("torch Size", long_tuple(MANY), 20 * MANY),
    "a counter of a range": called("collections Counter", called("builtins range", integer(10**9))),
    "a deque of a range": called("collections deque", called("builtins range", integer(10**9))),
    "a set of a range with a start": called("builtins set", called("builtins range", integer(-5), integer(10**15))),
    "a key that is hashed without end": pickle.EMPTY_DICT + doubled(60) + pickle.NONE + pickle.SETITEM,
    "a set whose member is": called("builtins set", pickle.EMPTY_LIST + doubled(60) + pickle.APPEND),
    "written out": called("builtins str", doubled(60)),
    "a list of a text": called("builtins list", text("x" * 10_000)),
    "a tensor by number": called("torch Tensor", integer(600_000_000)),
    "a tensor of a type by number": called("torch FloatTensor", integer(600_000_000)),
    "a storage by number": called("torch.storage UntypedStorage", integer(600_000_000)),
    "a fraction with a large exponent": called("fractions Fraction", text("1e99999999")),
    "a fraction of a number with an underscore": called("fractions Fraction", text("1_0/3")),
    "a namespace without its reduction": with_attribute(called("argparse Namespace"), "__reduce_ex__"),
    "an OrderedDict without copy": with_attribute(called("collections OrderedDict"), "copy"),
    "a counter without items": with_attribute(called("collections Counter"), "items"),
    "a mapping of an unknown class without items": with_attribute(called("m Settings") + ENTRY, "items"),
    "the same, filled afterwards": with_attribute(called("m Settings"), "items") + ENTRY,
}  # fmt: skip


@pytest.mark.parametrize("form", ["torch", "legacy"])
@pytest.mark.parametrize("name", BOMBS)
def test_what_grows_is_refused(tmp_path: Path, name: str, form: str) -> None:
    place = torch_file(tmp_path / "a.pt", WEIGHTS, BOMBS[name])
    if form == "legacy":
        legacy = torch_bytes({**WEIGHTS, "x": "here"}, _use_new_zipfile_serialization=False)
        place.write_bytes(legacy.replace(text("here"), BOMBS[name]))
    with pytest.raises(CheckpointError, match=r"a\.pt was not loaded, for .*; where you trust the file") as caught:
        read(place)
    assert len(str(caught.value)) < 1000


def test_a_parameter_without_detach_is_refused(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.detach = "x"  # type: ignore[assignment, method-assign]
    torch.save({"state_dict": {"w": parameter}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="has 'detach' in the place of a method"):
        read(tmp_path / "a.pt")
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.mine = "x"  # type: ignore[attr-defined]
    torch.save({"state_dict": {"w": parameter}}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt").weights["w"].sum() == 2


def test_what_people_save_is_not_refused(tmp_path: Path) -> None:
    names = [f"layer{i}.weight" for i in range(1000)]
    history = {"loss": [i / 7 for i in range(50_000)], "seen": list(range(50_000)), "tokens": set(names)}
    state = {name: torch.ones(2) for name in names}
    optimizer = {"state": {i: {"step": torch.tensor(1.0), "m": torch.ones(2)} for i in range(1000)}, "param_groups": []}
    torch.save({"state_dict": state, "optimizer": optimizer, "history": history}, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    assert list(found.weights) == names and found.extras["history"] == history


def test_an_array_of_bytes_and_the_types_of_python_come_back(tmp_path: Path) -> None:
    extra: dict[str, Any] = {"b": bytearray(b"abc"), "empty": b"", "ä": "ä".encode(), "types": (int, list, dict, bytes)}
    torch.save({"state_dict": WEIGHTS, "x": extra}, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    assert torch.load(write(tmp_path / "m.pt", WEIGHTS, found), weights_only=False)["x"] == extra


def test_lists_alone_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.EMPTY_LIST + pickle.MARK + pickle.EMPTY_LIST * 100_000 + pickle.APPENDS + pickle.STOP
    assert check_unpickling(io.BytesIO(content), len(content))
    monkeypatch.setattr(module, "_FREE", 4 << 20)
    with pytest.raises(UnboundedError, match="far more than tensors"):
        check_unpickling(io.BytesIO(content), len(content))


def test_opcodes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.dumps([None] * 1000, protocol=2)
    assert check_unpickling(io.BytesIO(content), len(content))
    monkeypatch.setattr(module, "MOST", 500)
    with pytest.raises(UnboundedError):
        check_unpickling(io.BytesIO(content), len(content))


def test_what_torch_does_not_know_is_left_to_it() -> None:
    content = pickle.dumps([1, 2], protocol=4)
    assert not check_unpickling(io.BytesIO(content), len(content))


# ---- what cannot be written again, and mappings that are there often


def test_what_is_nested_too_deep_is_left_out_and_said(tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    torch.save({"state_dict": WEIGHTS, "x": deep, "epoch": 3, ("a", 1): deep}, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    assert found.left_out == ("x (nested too deep to be written)", "('a', 1) (nested too deep to be written)")
    assert set(torch.load(write(tmp_path / "m.pt", WEIGHTS, found))) == {"state_dict", "epoch"}


def test_a_list_that_holds_itself_comes_back(tmp_path: Path) -> None:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    torch.save({"state_dict": WEIGHTS, "x": cycle}, tmp_path / "a.pt")
    again = torch.load(write(tmp_path / "m.pt", WEIGHTS, read(tmp_path / "a.pt")))["x"]
    assert again[0] == 1 and again[1] is again


def test_one_mapping_under_many_names_is_looked_at_once(tmp_path: Path) -> None:
    tree: dict[str, Any] = {"n": 1}
    for _ in range(3):
        tree = {f"{i}": tree for i in range(2000)}
    torch.save({"state_dict": WEIGHTS, "x": tree}, tmp_path / "a.pt")
    assert list(read(tmp_path / "a.pt").weights) == ["w"]


def test_many_candidates_are_named_in_one_short_sentence(tmp_path: Path) -> None:
    torch.save({f"{'long' * 100}{i}": {"w": torch.ones(1)} for i in range(300)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"several sets of weights: long.* … \(300 in all\)") as caught:
        read(tmp_path / "a.pt")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("views", [2, 3000])
def test_views_of_one_storage_that_together_are_far_more_than_the_file(tmp_path: Path, views: int) -> None:
    storage = torch.zeros(100_000 + views)
    torch.save({f"w{i}": storage[i : i + 100_000] for i in range(views)}, tmp_path / "a.pt")
    if views == 2:
        assert len(read(tmp_path / "a.pt").weights) == 2
        return
    with pytest.raises(CheckpointError, match=r"its tensors stand for 1,200,000,000: save copies"):
        read(tmp_path / "a.pt")
