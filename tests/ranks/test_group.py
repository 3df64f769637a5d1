"""What a rank may do by itself, without any other being there."""

from pathlib import Path

import pytest
import torch

from llpf_plugin.errors import RankError, TaskError
from llpf_plugin.files import atomic_folder, write_text
from llpf_plugin.ranks import (
    Group,
    alone,
    any_rank,
    current,
    from_first,
    gathered,
    is_first,
    joined,
    on_first,
    shared,
    together,
)
from llpf_plugin.ranks.devices import check_device
from llpf_plugin.ranks.group import set_current
from llpf_plugin.tasks.shares import check_shared, share_of


@pytest.mark.parametrize("count", [2, 3, 7, 64])
@pytest.mark.parametrize("size", [1, 2])
def test_shares_are_all_examples_once_and_equal_to_within_one(count: int, size: int) -> None:
    parts = [list(range(count))[Group(rank, size).part(count)] for rank in range(size)]
    assert [i for part in parts for i in part] == list(range(count)) and max(map(len, parts)) - min(
        map(len, parts)
    ) <= 1


def test_a_process_without_ranks_speaks_to_nobody() -> None:
    assert is_first() and not together() and current() == Group()
    assert (shared(3), gathered(3), any_rank(True), from_first(lambda: 3), on_first(int, "3")) == (3, [3], True, 3, 3)


def test_what_one_does_alone_stays_what_only_the_first_writes() -> None:
    with set_current(Group(1, 2)):
        assert together() and not is_first() and on_first(int, "3") is None and current().own == (1,)
        with alone():
            assert not together() and not is_first() and current().own == () and gathered(3) == [3]
        assert together()


def test_only_the_first_rank_writes(tmp_path: Path) -> None:
    with set_current(Group(1, 2)):
        write_text(tmp_path / "a" / "file", "text")
        atomic_folder(tmp_path / "folder", lambda place: (place / "file").touch(), lambda entry: True)
    assert list(tmp_path.iterdir()) == []
    with set_current(Group(0, 2)):
        write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.parametrize("device", ["mps", "cuda:1", "cuda"])
def test_a_device_that_a_rank_cannot_have_for_itself(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", str(torch.cuda.device_count()))
    check_device(torch.device(device))
    with set_current(Group(1, 2)), pytest.raises(RankError):
        check_device(torch.device(device))


def test_batches_and_models_that_ranks_cannot_share() -> None:
    whole = (torch.zeros(1, 3), torch.zeros(1))
    assert share_of(whole) == (whole, 1.0)
    model = torch.nn.Sequential(torch.nn.SyncBatchNorm(3))
    check_shared(model, "a task")
    with set_current(Group(1, 2)):
        with pytest.raises(TaskError, match="a batch of 1 example cannot be shared by 2 ranks"):
            share_of(whole)
        with pytest.raises(TaskError, match="one row for each of its 4 examples"):
            share_of((torch.zeros(4, 3), torch.zeros(5)))
        with pytest.raises(TaskError, match="SyncBatchNorm"):
            check_shared(model, "a task")
        assert share_of((torch.zeros(5, 3), torch.zeros(5)))[1] == 3 / 5


def test_an_older_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch, "__version__", "2.6.0+cpu")
    with pytest.raises(RankError, match=r"several ranks need torch 2\.13 or later, and this is 2\.6\.0"), joined():
        raise AssertionError("nothing is begun")
