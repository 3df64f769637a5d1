"""`merge`: two, three and five models, in memory and in a folder; what advances, what it costs, what is refused."""

import json
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from safetensors.torch import save_file
from torch import Tensor, nn

from llpf_plugin import LLPF, Compute, LLPFError, Task, align, find_path, merge
from llpf_plugin.alignment import align_all
from llpf_plugin.checkpoint import fingerprint, read
from llpf_plugin.errors import CheckpointError, InterruptedRun, MismatchError, RunError, TaskError
from llpf_plugin.evaluation import evaluate
from llpf_plugin.geometry import Weights, clone
from llpf_plugin.merging import Merged, Pair, Request, Source, Watch
from llpf_plugin.merging.merge import better
from llpf_plugin.records import Tick
from llpf_plugin.runs import Node, open_run, open_tree
from llpf_plugin.search import Callback, Searching, SearchOptions
from llpf_plugin.workspace import Workspace

ALL = LLPF(phases="all")


def models(count: int, name: str = "mlp") -> list[Weights]:
    """So many networks of a tiny task, trained from as many seeds; fresh copies."""
    return [clone(tiny.trained(name, seed)) for seed in range(1, count + 1)]


def merged(count: int, **options: Any) -> Merged:
    return merge(models(count), tiny.mlp(), ALL, **{"max_loss": 0.3, "points": 1, **options})


@cache
def in_memory(count: int) -> Merged:
    """A merge of so many that nothing interrupts; not to be changed."""
    return merged(count)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def scores(weights: Weights, task: Task) -> dict[str, Any]:
    workspace = Workspace(task)
    return evaluate(workspace, weights, {"train": task.train, "validation": task.validation, "test": task.test})[0]


# What comes of it -----------------------------------------------------------------------------------------------------


def test_two_models_are_a_point_of_their_path() -> None:
    found = in_memory(2)
    a, b = models(2)
    path = find_path(a, align(a, b, tiny.mlp()).weights, tiny.mlp(), ALL, max_loss=0.3, points=1)
    assert found.connected and found.file is None and found.gradient_steps == path.cost.gradient_steps
    (pair,) = found.pairs
    assert pair.folder is None and 0.1 <= pair.picked.t <= 0.9
    assert tiny.same(found.weights, path.quality.pick("best").weights)
    assert list(found.weights) == list(models(2)[0]) and all(t.device.type == "cpu" for t in found.weights.values())


@pytest.mark.parametrize("count", [3, 5])
def test_more_models_are_joined_pair_by_pair(count: int) -> None:
    found = merged(count, align="never")
    assert [j.node.name for j in found.joins] == {3: ["1-2", "1-3"], 5: ["1-2", "1-3", "4-5", "1-5"]}[count]
    assert found.connected and len(found.pairs) == count - 1
    assert found.gradient_steps == sum(j.steps for j in found.joins)
    assert {j.goes_on for j in found.joins} == {"merged"}
    assert tiny.same(found.weights, found.pairs[-1].picked.weights)
    # Each pair begins with what came of the pairs below it.
    of = {join.node: pair for join, pair in zip(found.joins, found.pairs, strict=True)}
    own = models(count)
    for node, pair in of.items():
        for half, end in zip(node.halves, (pair.quality.path.start, pair.quality.path.end), strict=True):
            assert tiny.same(end, own[half.first] if half.leaf else of[half].picked.weights)


@pytest.mark.parametrize("count", [2, 3])
def test_a_merged_model_is_as_good_as_its_verdict_says(count: int) -> None:
    found = in_memory(count)
    assert scores(dict(found.weights), tiny.mlp()) == found.pairs[-1].picked.scores
    assert found.pairs[-1].picked.scores["test"].accuracy > 0.9  # type: ignore[union-attr]


def test_the_same_models_give_the_same_bits_whatever_holds_them(tmp_path: Path) -> None:
    a, b = models(2)
    torch.save({"state_dict": a}, tmp_path / "a.pt")
    torch.save(b, tmp_path / "b.pt")
    for given in ([tmp_path / "a.pt", tmp_path / "b.pt"], [str(tmp_path / "a.pt"), b]):
        found = merge(given, tiny.mlp(), ALL, max_loss=0.3, points=1)
        assert tiny.same(dict(found.weights), dict(in_memory(2).weights))


def test_inputs_are_not_touched() -> None:
    given = models(3)
    before = [clone(w) for w in given]
    merge(given, tiny.mlp(), ALL, max_loss=0.3, points=1)
    assert all(tiny.same(x, y) for x, y in zip(given, before, strict=True))


@pytest.mark.parametrize(("pick", "t"), [("mid", 0.5), (0.25, 0.25), ("0.75", 0.75)])
def test_another_point_may_be_picked(pick: str | float, t: float) -> None:
    found = merged(2, pick=pick)
    assert found.pairs[0].picked.t == t and not tiny.same(dict(found.weights), dict(in_memory(2).weights))


def test_models_may_be_aligned_first() -> None:
    """B's hidden units in another order: the straight line is high, unless they are brought back."""
    a, near = models(1)[0], {k: t + 1e-4 for k, t in models(1)[0].items()}
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    moved = {"0.weight": near["0.weight"][order], "0.bias": near["0.bias"][order]}
    b = {**near, **moved, "2.weight": near["2.weight"][:, order]}
    high, low = (merge([a, b], tiny.mlp(), "linear", align=align, tolerance=0.1) for align in ("never", "always"))
    assert low.pairs[0].quality.maximum == pytest.approx(scores(a, tiny.mlp())["train"].loss, rel=1e-2)
    assert high.pairs[0].quality.maximum > 5 * low.pairs[0].quality.maximum
    assert tiny.same(dict(merge([a, b], tiny.mlp(), "linear", tolerance=0.1).weights), dict(low.weights))
    assert high.pairs[0].alignment is None
    for side in (low, merge([a, b], tiny.mlp(), "linear", tolerance=0.1)):
        found = side.pairs[0].alignment
        assert found is not None and found.kept and found.line is not None and found.aligned is not None
        assert found.line > 5 * found.aligned and found.difference is not None and found.difference < 1e-5
        assert "B's units were re-ordered and scaled: the same function (difference ≤ " in found.sentence
        assert f"line {found.line:.3g}, aligned {found.aligned:.3g}; the path ends at the aligned B" in found.sentence


# In a folder ----------------------------------------------------------------------------------------------------------


def test_two_models_in_a_folder(tmp_path: Path) -> None:
    found = merged(2, out=tmp_path / "run", named={"task": "tiny.py:mlp"}, info={"command": "llpf merge"})
    assert found.file == tmp_path / "run" / "merged.safetensors"
    assert tiny.same(read(found.file).weights, dict(in_memory(2).weights)) and tiny.same(
        dict(found.weights), dict(in_memory(2).weights)
    )
    run = open_run(tmp_path / "run")
    assert run.notes == () and run.task == ("tiny.py:mlp", {}) and run.info["command"] == "llpf merge"
    assert run.picked == found.pairs[0].picked.t and run.verdict is not None and run.verdict.connected
    assert open_tree(tmp_path / "run") is None and found.pairs[0].folder == tmp_path / "run"


def test_three_models_in_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "tree"
    found = merged(3, out=out)
    assert found.file == out / "merged.safetensors" and found.connected
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["1-2", "1-3"]
    tree = open_tree(out)
    assert tree is not None and tree[0] == ["model 1", "model 2", "model 3"] and tree[1] == list(found.joins)
    assert tiny.same(read(found.file).weights, read(out / "1-3" / "merged.safetensors").weights)
    # The second pair begins with the first one's file.
    first = read(out / "1-2" / "merged.safetensors").weights
    third = align_all(models(3), tiny.mlp()).weights[2]
    assert open_run(out / "1-3").pair == (fingerprint(first), fingerprint(third))
    assert all(open_run(out / name).notes == () for name in ("1-2", "1-3"))


def test_the_form_of_the_first_file_is_kept(tmp_path: Path) -> None:
    for i, weights in enumerate(models(3)):
        torch.save({"epoch": 7, "model": {f"module.{k}": t for k, t in weights.items()}}, tmp_path / f"{i}.pt")
    found = merge([tmp_path / f"{i}.pt" for i in range(3)], tiny.mlp(), "linear", tolerance=9.0, out=tmp_path / "tree")
    assert found.file is not None and found.file.suffix == ".pt"
    document = torch.load(found.file, weights_only=True)
    assert list(document["model"]) == [f"module.{k}" for k in models(1)[0]]


def test_a_folder_in_use_is_refused_before_anything_is_searched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for count in (2, 3):
        with pytest.raises(RunError, match="is not an empty folder"):
            merged(count, out=tmp_path)
    merged(3, out=tmp_path / "tree")
    before = files(tmp_path)
    with pytest.raises(RunError, match="add --resume"):
        merged(3, out=tmp_path / "tree")
    assert files(tmp_path) == before


class Stops(Callback):
    """Stops the search of a pair at one of its ticks."""

    def __init__(self, tick: int) -> None:
        self.left = tick

    def on_tick(self, search: Searching, tick: Tick) -> None:
        self.left -= 1
        search.stop = self.left == 0


class Watching(Watch):
    """Writes down what it is told, and stops a pair."""

    def __init__(self, stop: str = "", tick: int = 3) -> None:
        self.stop, self.tick, self.heard = stop, tick, list[str]()

    def on_pair(self, name: str, number: int, total: int, ends: Sequence[Source]) -> None:
        self.heard.append(f"pair {name}, {number} of {total}: {' + '.join(end.name for end in ends)}")

    def on_open(self, pair: Pair) -> None:
        self.heard.append(f"open {pair.name}, done: {pair.done}")

    def on_close(self, pair: Pair, quality: Any, picked: Any, merged: Path | None) -> None:
        self.heard.append(f"close {pair.name}, {merged and merged.name}")

    def callbacks(self, pair: str) -> Sequence[Callback]:
        return [Stops(self.tick)] if pair == self.stop else []

    def running(self) -> AbstractContextManager[Any]:
        self.heard.append("running")
        return nullcontext()


def test_a_watch_is_told_of_every_step(tmp_path: Path) -> None:
    watch = Watching()
    merged(3, watch=watch)
    assert watch.heard == [
        "pair 1-2, 1 of 2: model 1 + model 2", "open 1-2, done: False", "running", "close 1-2, None",
        "pair 1-3, 2 of 2: 1-2 + model 3", "open 1-3, done: False", "running", "close 1-3, None",
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "stop"), [(2, "1-2"), (3, "1-2"), (3, "1-3")])
def test_a_merge_that_was_stopped_resumes_to_the_same_files(tmp_path: Path, count: int, stop: str) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    merged(count, out=whole)
    with pytest.raises(InterruptedRun):
        merged(count, out=out, watch=Watching(stop, 2))
    assert not (out / "merged.safetensors").exists()
    watch = Watching()
    found = merged(count, out=out, resume=True, watch=watch)
    assert [h for h in watch.heard if "done: True" in h] == (["open 1-2, done: True"] if stop == "1-3" else [])
    kept = [name for name in files(whole) if name.endswith(".safetensors")]
    assert kept == [name for name in files(out) if name.endswith(".safetensors")]
    assert all(files(whole)[name] == files(out)[name] for name in kept)
    assert tiny.same(dict(found.weights), dict(in_memory(count).weights))
    assert found.gradient_steps == in_memory(count).gradient_steps


def test_a_pair_whose_model_was_exchanged_is_not_continued(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InterruptedRun):
        merged(3, out=out, watch=Watching("1-3", 2))
    place = out / "1-2" / "merged.safetensors"
    before = place.read_bytes()
    shutil.rmtree(out / "1-3")
    save_file(models(3)[2], place)
    with pytest.raises(RunError, match=r"1-2/merged\.safetensors is not what the run wrote: .*move it elsewhere"):
        merged(3, out=out, resume=True)
    place.unlink()
    assert tiny.same(dict(merged(3, out=out, resume=True).weights), dict(in_memory(3).weights))
    assert place.read_bytes() == before


def test_a_verdict_names_no_model_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "out"
    merged(3, out=out)
    whole = files(out)["1-2/merged.safetensors"]
    save_file(models(3)[2], tmp_path / "other.safetensors")
    document = json.loads((out / "1-2" / "quality.json").read_text())
    for name in ("../../other.safetensors", str(tmp_path / "other.safetensors"), ""):
        document["merged"] |= {"file": name, "digest": None}
        (out / "1-2" / "quality.json").write_text(json.dumps(document))
        merged(3, out=out, resume=True)
        assert files(out)["1-2/merged.safetensors"] == whole


def test_a_finished_merge_resumes_to_itself(tmp_path: Path) -> None:
    first = merged(3, out=tmp_path / "out")
    before = files(tmp_path / "out")
    again = merged(3, out=tmp_path / "out", resume=True)
    after = files(tmp_path / "out")
    assert {k: v for k, v in after.items() if "merged" in k} == {k: v for k, v in before.items() if "merged" in k}
    assert again.gradient_steps == first.gradient_steps and again.connected
    assert [(j.node, j.steps, j.goes_on) for j in again.joins] == [(j.node, j.steps, j.goes_on) for j in first.joins]


def test_a_merge_of_something_else_is_not_resumed(tmp_path: Path) -> None:
    merged(2, out=tmp_path / "out")
    for options, words in (({"seed": 5}, "search.seed was 0, is 5"), ({"align": "always"}, "align was")):
        with pytest.raises(RunError, match=f"holds another run: {words}"):
            merged(2, out=tmp_path / "out", resume=True, **options)
    with pytest.raises(RunError, match="holds another run: b was"):
        merge([models(1)[0], models(3)[2]], tiny.mlp(), ALL, max_loss=0.3, points=1, out=tmp_path / "out", resume=True)


# What advances, and what it costs -------------------------------------------------------------------------------------


def test_where_a_pair_is_not_connected_the_best_of_it_advances() -> None:
    found = merged(3, budget=1)
    assert not found.connected and not any(j.connected for j in found.joins)
    first = found.joins[0]
    ends = dict(zip("AB", models(2), strict=True))
    advanced = ends.get(first.goes_on) or found.pairs[0].picked.weights
    assert tiny.same(found.pairs[1].quality.path.start, advanced)
    candidates = {**ends, "merged": found.pairs[0].picked.weights}
    ranks = {side: scores(w, tiny.mlp())["validation"] for side, w in candidates.items()}
    best = min(ranks, key=lambda side: (-ranks[side].accuracy, ranks[side].loss))
    assert first.goes_on == best


def test_a_pair_alone_gives_its_merged_model_connected_or_not() -> None:
    found = merged(2, budget=1)
    assert not found.connected and found.joins[0].goes_on == "merged"
    assert tiny.same(dict(found.weights), found.pairs[0].picked.weights)


def test_with_best_the_better_end_may_come_of_a_connected_pair() -> None:
    """A, where the point that is picked scores worse."""
    rng = torch.Generator().manual_seed(0)
    a, b = models(2)
    worse = {k: t + 0.3 * torch.randn(t.shape, generator=rng) for k, t in b.items()}
    best, connected = (
        merge([a, worse], tiny.mlp(), "linear", advance=advance, tolerance=9.0, pick=0.9, align="never")
        for advance in ("best", "connected")
    )
    own, picked = scores(a, tiny.mlp())["validation"], best.pairs[0].picked.scores["validation"]
    assert picked is not None and (own.accuracy, -own.loss) > (picked.accuracy, -picked.loss)
    assert best.joins[0].goes_on == "A" and tiny.same(dict(best.weights), a)
    assert connected.joins[0].goes_on == "merged"
    assert tiny.same(dict(connected.weights), connected.pairs[0].picked.weights)


def test_with_best_models_that_cannot_be_joined_give_the_better_one() -> None:
    """The goal lies below the loss of an end: nothing can be searched."""
    given = models(2)
    spoiled = {k: t * 0.1 for k, t in given[1].items()}
    with pytest.raises(LLPFError, match="must exceed the training loss of B itself"):
        merge([given[0], spoiled], tiny.mlp(), ALL, max_loss=0.1)
    found = merge([given[0], spoiled], tiny.mlp(), ALL, max_loss=0.1, advance="best")
    assert tiny.same(dict(found.weights), given[0]) and found.pairs == [] and found.joins == []
    assert found.gradient_steps == 0


def test_with_best_a_pair_that_cannot_be_joined_lets_the_others_go_on(tmp_path: Path) -> None:
    given = models(3)
    given[1] = {k: t * 0.1 for k, t in given[1].items()}
    found = merge(given, tiny.mlp(), ALL, max_loss=0.3, points=1, advance="best", out=tmp_path / "out")
    assert [j.node.name for j in found.joins] == ["1-3"] and found.connected
    start = open_run(tmp_path / "out" / "1-3").path.start
    assert tiny.same(start, given[0])


def test_the_better_model_is_the_first_of_those_that_score_best() -> None:
    a = models(1)[0]
    broken = {k: t * torch.nan for k, t in a.items()}
    worse = {k: t * 0.1 for k, t in a.items()}
    request = Request(tiny.mlp(), ALL, SearchOptions(), Compute("cpu"))

    def chosen(*ends: Weights) -> int:
        sources = [Source(str(i), w) for i, w in enumerate(ends)]
        return int(better(sources, request).name)

    assert chosen(broken, worse) == 1 and chosen(worse, a, broken) == 1 and chosen(a, dict(a)) == 0
    assert chosen(broken, broken) == 0
    by_loss = replace(tiny.mlp(), objective=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]))
    request = replace(request, task=by_loss)
    assert chosen(broken, worse) == 1 and chosen(worse, broken, a) == 2


@pytest.mark.parametrize("total", [2, 40, 10_000])
def test_a_total_budget_is_kept_and_what_one_pair_leaves_is_the_others(total: int) -> None:
    budgets: list[int] = []

    class Budgets(Watch):
        def on_open(self, pair: Pair) -> None:
            budgets.append(pair.search.options.budget)

    found = merged(5, total_budget=total, max_loss=0.05, watch=Budgets())
    spent = 0
    for i, (budget, join) in enumerate(zip(budgets, found.joins, strict=True)):
        assert budget == max(1, (total - spent) // (4 - i)) and join.steps <= budget
        spent += join.steps
    assert found.gradient_steps == spent <= max(total, 4)


# What is refused ------------------------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused_before_anything_is_read() -> None:
    missing = ["nowhere.pt", "nothing.pt"]
    wrong: dict[str, dict[str, Any]] = {
        "pick 'worst'": {"pick": "worst"}, "budget = 0": {"budget": 0}, "no method 'magic'": {"method": "magic"},
        "align = 'perhaps'": {"align": "perhaps"},
    }  # fmt: skip
    for message, options in wrong.items():
        with pytest.raises(LLPFError, match=message):
            merge(missing, tiny.mlp(), **options)
    with pytest.raises(TaskError, match="no built-in task 'digits/cnn'"):
        merge(missing, "digits/cnn")
    with pytest.raises(TypeError, match="phases"):
        merge(missing, tiny.mlp(), phases="all")
    with pytest.raises(CheckpointError, match=r"nowhere\.pt"):
        merge(missing, tiny.mlp())


@pytest.mark.parametrize("count", [0, 1])
def test_a_merge_needs_two_models(count: int) -> None:
    with pytest.raises(LLPFError, match=r"at least two models|no model to join"):
        merge(models(count), tiny.mlp())


@pytest.mark.parametrize("count", [2, 3])
def test_models_that_do_not_fit_are_refused_before_any_search(count: int, tmp_path: Path) -> None:
    def never(model: nn.Module, batch: Any) -> Tensor:
        raise AssertionError("the model was run")

    task = replace(tiny.mlp(), objective=never)
    wrong = models(count)
    wrong[-1] = {**wrong[-1], "2.weight": wrong[-1]["2.weight"][:2]}
    for given in (wrong, [*models(count - 1), clone(tiny.trained("conv", 1))], [*models(count - 1), models(1)[0]]):
        with pytest.raises(MismatchError):
            merge(given, task, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_both_names_of_one_model_are_said() -> None:
    with pytest.raises(MismatchError, match="model 2 and model 4 are the same model: name every model once"):
        merge([*models(3), clone(models(3)[1])], tiny.mlp())


def test_a_search_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(LLPFError, match="must exceed"):
        merged(2, max_loss=1e-9, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tree_is_a_json_document(tmp_path: Path) -> None:
    merged(3, out=tmp_path / "out")
    document = json.loads((tmp_path / "out" / "tree.json").read_text())
    assert [join["node"] for join in document["joins"]] == [[0, 1], [0, 2]] and Node(0, 2).name == "1-3"
