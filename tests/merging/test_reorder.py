"""Whether B's units are re-ordered before the path is searched, and that a run decides it once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.run_folders import edit, read
from torch import nn

from llpf_plugin import LLPF, Linear, Task, TensorData, align, merge
from llpf_plugin.alignment import Matching
from llpf_plugin.checkpoint import fingerprint
from llpf_plugin.errors import MismatchError, OrderError, RunError
from llpf_plugin.geometry import Weights, clone
from llpf_plugin.merging import Pair, Request, Source, open_pair, reorder
from llpf_plugin.runs import open_run
from llpf_plugin.runs.read import read_info
from llpf_plugin.search import SearchOptions
from llpf_plugin.workspace import Compute


def opened(a: Weights, b: Weights, folder: Path | None = None, resume: bool = False, **options: Any) -> Pair:
    settings: dict[str, Any] = {"method": Linear(), "task": tiny.mlp(), **options}
    request = Request(options=SearchOptions(tolerance=10.0), compute=Compute("cpu"), **settings)
    return open_pair("1-2", [Source("a", a), Source("b", b)], request, folder, resume)


def shuffled(a: Weights) -> Weights:
    """The same function with its hidden units in another order, and a little noise, or else it would be A itself."""
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    own = {**a, "0.weight": a["0.weight"][order], "0.bias": a["0.bias"][order], "2.weight": a["2.weight"][:, order]}
    return {k: t + 0.01 * t.std() for k, t in own.items()}


def test_it_is_kept_where_it_lowers_the_line_and_the_path_ends_there() -> None:
    a, b = tiny.pair("mlp")
    pair = opened(a, b)
    found, matched = pair.alignment, align(a, b, tiny.mlp()).weights
    assert found is not None and found.kept and pair.matching is not None and found.end == fingerprint(matched)
    assert found.line is not None and found.aligned is not None and found.aligned < found.line
    assert tiny.same(pair.search.end, matched) and max(pair.line()) == found.aligned
    assert found.line == max(opened(a, b, align="never").line())


def test_a_model_in_half_precision_is_re_ordered_in_that_of_the_model() -> None:
    """Its units are rescaled as well, which in bfloat16 would be another function."""
    a, b = ({k: t.bfloat16() for k, t in weights.items()} for weights in tiny.pair("mlp"))
    pair = opened(a, b)
    assert pair.alignment is not None and pair.alignment.kept, pair.alignment
    assert pair.alignment.difference is not None and pair.alignment.difference < 1e-5
    assert {t.dtype for t in pair.search.end.values()} == {torch.float32}


def test_it_is_counted_as_measuring_and_the_line_that_is_left_is_not_measured_again() -> None:
    pair = opened(*tiny.pair("mlp"))
    pair.line()
    spent = pair.search.workspace.clock.spent()
    assert spent["measuring"].forward_passes == 2 * 11 * 96 and spent["other"].forward_passes == 0


def worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let matching find an order that is no better: A's own units in another order are matched with nothing."""

    def other(a: Weights, b: Weights, task: Task, seed: int = 0) -> Matching:
        return replace(align(a, b, task), weights=shuffled(b))

    monkeypatch.setattr(reorder, "align", other)


def test_it_is_not_kept_where_it_does_not_lower_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    a = tiny.pair("mlp")[0]
    b = {k: t + 0.01 * t.std() for k, t in a.items()}
    worse(monkeypatch)
    pair = opened(a, b)
    assert pair.alignment is not None and not pair.alignment.kept and pair.matching is None
    assert pair.alignment.sentence.startswith("B's units stay as they are: re-ordering them did not lower")
    assert tiny.same(pair.search.end, b) and max(pair.line()) == pair.alignment.line
    forced = opened(a, b, align="always")
    assert forced.alignment is not None and forced.alignment.kept and tiny.same(forced.search.end, shuffled(b))


def test_what_is_in_order_already_is_not_measured() -> None:
    a = tiny.pair("conv")[0]
    pair = opened(a, {k: t + 0.01 if k == "conv1.weight" else t for k, t in a.items()}, task=tiny.conv())
    assert pair.alignment is not None and "in A's order already" in pair.alignment.sentence
    assert pair.search.workspace.clock.spent()["measuring"].forward_passes == 0


def test_a_model_and_itself_in_another_order_are_not_connected() -> None:
    a = tiny.pair("mlp")[0]
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    b = {**a, "0.weight": a["0.weight"][order], "0.bias": a["0.bias"][order], "2.weight": a["2.weight"][:, order]}
    for align_them in ("auto", "always"):
        with pytest.raises(MismatchError, match="the same model, its units in another order"):
            opened(a, b, align=align_them)
    assert opened(a, b, align="never").alignment is None


class Untraced(nn.Module):
    """A model that the objective does not call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 4), nn.Linear(4, 3)


def untraced() -> Task:
    def objective(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        scores = model.last(torch.relu(model.first(batch[0])))  # type: ignore[operator]
        return nn.functional.cross_entropy(scores, batch[1])

    return Task(Untraced(), TensorData(*tiny.clusters(32, 6, 1)), objective=objective)


def test_a_model_without_a_trace_is_left_alone_and_the_reason_is_said() -> None:
    torch.manual_seed(0)
    a, b = Untraced().state_dict(), Untraced().state_dict()
    pair = opened(a, b, task=untraced())
    assert pair.alignment is not None and not pair.alignment.kept
    assert "no symmetry can be derived: the objective of 'task' does not call the model itself" in pair.alignment.why
    with pytest.raises(OrderError, match="does not call the model itself"):
        opened(a, b, task=untraced(), align="always")


def test_a_schedule_is_walked_between_models_as_they_are_unless_that_is_asked_for(tmp_path: Path) -> None:
    schedule = tmp_path / "schedule.yaml"
    schedule.write_text(
        "batch_size: 32\nsettle: {threshold: 0.1, min_steps: 2, max_steps: 9, lr: 0.05, momentum: 0}\n"
        "phases:\n  - {name: everything, layers: all, ticks: 4, step_f: 0.25}\n"
    )
    method, (a, b) = LLPF(schedule=str(schedule)), tiny.pair("mlp")
    pair = opened(a, b, method=method)
    assert pair.asked.align == "never" and tiny.same(pair.search.end, b)
    assert pair.alignment is not None and "a schedule of the paper" in pair.alignment.sentence
    wished = opened(a, b, method=method, align="always")
    assert wished.asked.align == "always" and wished.alignment is not None and wished.alignment.kept


def finished(folder: Path) -> Path:
    merge(tiny.pair("mlp"), tiny.mlp(), "linear", tolerance=10.0, out=folder, compute=Compute("cpu"))
    return folder


def test_a_run_says_what_was_decided(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    found = open_run(run).alignment
    assert found is not None and found.kept and open_run(run).notes == ()
    assert read(run)["alignment"] == read(run, "run")["info"]["alignment"] == found.to_json()
    assert read(run)["merged"]["notes"] == [found.sentence]


def test_a_resumed_run_does_not_decide_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = tiny.pair("mlp")
    run = finished(tmp_path / "run")
    kept = opened(a, b, run, resume=True)
    assert kept.alignment == open_run(run).alignment and tiny.same(kept.search.end, align(a, b, tiny.mlp()).weights)
    assert kept.search.workspace.clock.spent()["other"].forward_passes == 0
    left = {**read(run, "run")["info"]["alignment"], "kept": False, "end": None}
    edit(run / "run.json", lambda d: d["info"].update(alignment=left))
    again = opened(a, b, run, resume=True)
    assert again.alignment is not None and not again.alignment.kept and tiny.same(again.search.end, b)


def test_a_run_without_a_record_was_aligned_in_any_case(tmp_path: Path) -> None:
    a, b = tiny.pair("mlp")
    run = finished(tmp_path / "run")
    edit(run / "run.json", lambda d: d["info"].pop("alignment"))
    pair = opened(a, b, run, resume=True)
    assert pair.alignment is not None and pair.alignment.kept and pair.alignment.line is None
    assert tiny.same(pair.search.end, align(a, b, tiny.mlp()).weights)


def test_a_run_whose_re_ordered_end_is_another_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(tmp_path / "run")
    worse(monkeypatch)
    with pytest.raises(RunError, match="run was begun by a version that re-orders B in another way"):
        opened(*tiny.pair("mlp"), run, resume=True)


def test_the_pairs_of_a_tree_are_aligned_each_in_one_frame(tmp_path: Path) -> None:
    models = [clone(tiny.trained("mlp", seed)) for seed in (1, 2, 3)]
    found = merge(models, tiny.mlp(), LLPF(phases="all"), max_loss=0.3, points=1, out=tmp_path / "tree")
    kept = [pair.alignment.kept for pair in found.pairs if pair.alignment is not None]
    assert len(kept) == 2
    for name, own in zip(("1-2", "1-3"), kept, strict=True):
        assert json.loads((tmp_path / "tree" / name / "quality.json").read_text())["alignment"]["kept"] == own
        assert "into the first one's frame" in read_info(tmp_path / "tree" / name)["frame"]
