"""One pair of a merge: what its run depends on, and what it is made of."""

from pathlib import Path

import pytest
import torch
from helpers import tiny
from torch import nn

from llpf_plugin import LLPF, Compute, LLPFError, Task, checkpoint
from llpf_plugin.checkpoint import fingerprint
from llpf_plugin.errors import MismatchError, OrderError, RunError
from llpf_plugin.merging import Pair, Request, Source, open_pair
from llpf_plugin.search import SearchOptions


def request(task: Task | None = None, **options: object) -> Request:
    return Request(task or tiny.mlp(), LLPF(phases="all"), SearchOptions(max_loss=0.3), Compute("cpu"), **options)  # type: ignore[arg-type]


def pair(folder: Path | None = None, resume: bool = False, **options: object) -> Pair:
    ends = [Source.of(w, i) for i, w in enumerate(tiny.pair("mlp"), start=1)]
    return open_pair("1-2", ends, request(**options), folder, resume)


def test_a_source_knows_its_name_and_form(tmp_path: Path) -> None:
    a, _ = tiny.pair("mlp")
    torch.save({"state_dict": a}, tmp_path / "a.pt")
    file = Source.of(tmp_path / "a.pt")
    assert file.name == str(tmp_path / "a.pt") and file.like is not None and tiny.same(dict(file.weights), a)
    given = Source.of(a, 3)
    assert given.name == "model 3" and given.like is None and given.weights is a


def test_a_run_depends_on_all_that_was_asked() -> None:
    asked = pair(align="auto", named={"task": "mine.py:task", "task_arguments": {"width": 3}}).asked
    a, b = tiny.pair("mlp")
    assert (asked.a, asked.b) == (fingerprint(a), fingerprint(b))
    assert (asked.task, asked.task_arguments, asked.method, asked.align) == (
        "mine.py:task",
        {"width": 3},
        "llpf",
        "auto",
    )
    assert asked.method_settings == LLPF(phases="all").settings() and asked.compute == Compute("cpu").asked()
    assert SearchOptions.from_json(asked.search) == SearchOptions(max_loss=0.3)
    assert pair().asked.task == "tiny/mlp"


def test_opening_a_pair_writes_nothing(tmp_path: Path) -> None:
    assert pair(tmp_path / "run").run is not None and not (tmp_path / "run").exists()
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not an empty folder"):
        pair(tmp_path)
    ends = [Source.of(w) for w in tiny.pair("mlp")]
    assert open_pair("1-2", ends, request(), tmp_path, check_folder=False).run is not None


def test_a_pair_in_a_folder_from_its_search_to_its_merged_model(tmp_path: Path) -> None:
    opened = pair(tmp_path / "run")
    with opened.running():
        assert (tmp_path / "run" / "run.json").is_file()
        quality = opened.search.run()
    picked, file = opened.close(quality)
    assert file == tmp_path / "run" / "merged.safetensors" and file.is_file() and 0.1 <= picked.t <= 0.9
    again = pair(tmp_path / "run", resume=True)
    assert again.done and again.run is not None
    seconds = quality.path.cost.seconds
    found = again.search.run()
    assert again.close(found)[0].t == picked.t and found.path.cost.seconds == pytest.approx(seconds, abs=1.0)
    stamp = file.stat().st_mtime_ns
    assert again.close(found, keep=True)[1] == file and file.stat().st_mtime_ns == stamp
    elsewhere = pair(tmp_path / "run", resume=True, pick=0.3)
    at, file = elsewhere.close(elsewhere.search.run(), keep=True)
    assert at.t == 0.3 and file is not None and tiny.same(checkpoint.read(file).weights, at.weights)


def test_a_pair_in_memory_writes_nothing() -> None:
    opened = pair()
    with opened.running():
        quality = opened.search.run()
    assert opened.run is None and opened.close(quality)[1] is None


def test_a_refusal_while_it_runs_leaves_no_folder(tmp_path: Path) -> None:
    opened = pair(tmp_path / "run")
    with pytest.raises(LLPFError, match="no goal"), opened.running():
        raise LLPFError("no goal")
    assert not (tmp_path / "run").exists()


class Untraced(nn.Module):
    """A network whose hidden units may be in any order, and that does not run on the task's inputs as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)))


def test_what_cannot_be_traced_is_not_aligned_unless_it_must_be() -> None:
    def objective(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        scores = model.last(torch.relu(model.first(batch[0])))  # type: ignore[operator]
        return nn.functional.cross_entropy(scores, batch[1])

    torch.manual_seed(0)
    ends = [Source.of(Untraced().state_dict(), i) for i in (1, 2)]
    task = Task(Untraced(), tiny.mlp().train, objective=objective)
    assert open_pair("1-2", ends, request(task, align="auto")).matching is None
    with pytest.raises(OrderError, match="does not call the model itself"):
        open_pair("1-2", ends, request(task, align="always"))


def test_models_that_do_not_fit_are_named() -> None:
    a, b = tiny.pair("mlp")
    ends = [Source("left.pt", a), Source("right.pt", {**b, "2.weight": b["2.weight"][:2]})]
    with pytest.raises(MismatchError, match=r"right\.pt"):
        open_pair("1-2", ends, request())
