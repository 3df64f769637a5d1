"""Two classifiers with different classes become one: labels, what is tried, what is chosen, what is written."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import heads

from llpf_plugin import Compute, LLPFError, Task, checkpoint
from llpf_plugin.errors import MismatchError, OrderError, RunError, TaskError
from llpf_plugin.evaluation import evaluate
from llpf_plugin.geometry import Weights
from llpf_plugin.merging import Candidate, Source, United, candidates, labels_of, union_of, unite
from llpf_plugin.merging.candidates import WAYS, Ends, masked_task
from llpf_plugin.workspace import Workspace

CPU = Compute("cpu")
BUDGET = 40


def pair(a: tuple[str, ...] = heads.A, b: tuple[str, ...] = heads.B) -> list[Weights]:
    return [heads.classifier(a, 1), heads.classifier(b, 2)]


def united(a: tuple[str, ...] = heads.A, b: tuple[str, ...] = heads.B, **more: Any) -> United:
    return unite(pair(a, b), heads.points(), labels=[a, b], compute=CPU, **{"budget": BUDGET, **more})


def accuracy(candidate: Candidate, group: str, split: str = "validation") -> float:
    score = candidate.scores[split][group]
    assert score is not None and score.accuracy is not None
    return score.accuracy


@pytest.fixture(scope="module")
def apart() -> United:
    """Of two networks that know no class together."""
    return united()


def test_the_best_on_validation_data_is_kept(apart: United) -> None:
    assert [one.name for one in apart.candidates] == list(WAYS) and not any(one.failed for one in apart.candidates)
    best = next(one for one in apart.candidates if one.name == apart.chosen)
    assert accuracy(best, "all") == max(accuracy(one, "all") for one in apart.candidates) > 0.9
    workspace = Workspace(heads.points(), CPU)
    scores, _ = evaluate(workspace, apart.weights, {"test": workspace.task.test})
    assert scores["test"] == best.scores["test"]["all"]


def test_every_way_takes_the_same_steps_and_beats_both_parents(apart: United) -> None:
    steps = {one.name: one.steps for one in apart.candidates}
    assert steps.pop("mean") == 0 and set(steps.values()) == {BUDGET}
    parents = max(accuracy(one, "all") for one in apart.parents)
    assert parents <= 0.5 and all(accuracy(one, "all") > parents for one in apart.candidates if one.steps)
    point = next(one for one in apart.candidates if one.name == "path point, finetuned")
    assert point.t is not None and 0 < point.t < 1


def test_a_parent_is_judged_as_it_is_on_its_own_classes(apart: United) -> None:
    """Without the classes that it does not know, it has the accuracy of the network that was given."""
    task = heads.points()
    for labels, parent, own in zip((heads.A, heads.B), apart.parents, pair(), strict=True):
        places = torch.tensor([heads.CLASSES.index(label) for label in labels])
        model = heads.network(2).eval()
        model.load_state_dict(own)
        rows = torch.isin(task.validation.targets, places)
        right = places[model(task.validation.inputs[rows]).argmax(1)] == task.validation.targets[rows]
        assert accuracy(parent, parent.name) == pytest.approx(float(right.float().mean()))
        assert accuracy(parent, "B" if parent.name == "A" else "A") == 0 and parent.steps == 0


def test_heads_with_common_classes_and_in_any_order() -> None:
    found = united(heads.A, heads.C)
    a, b = found.parents
    assert accuracy(a, "A") > 0.9 and accuracy(b, "B") > 0.9 and 0.2 < accuracy(a, "B") < 0.4
    assert accuracy(next(one for one in found.candidates if one.name == found.chosen), "all") > 0.9
    assert found.weights["5.weight"].shape == (4, 16) and found.classes == heads.CLASSES


def test_the_mean_has_the_rows_of_whoever_knows_a_class() -> None:
    """Rows of one side alone are its own, those of both are averaged; of B, in the order of A's units."""
    seen: list[Ends] = []
    way = candidates.WAYS["mean"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(candidates.WAYS, "mean", lambda ends: seen.append(ends) or way(ends))  # type: ignore[index, func-returns-value]
        united(heads.A, heads.C, budget=1)
    (ends,) = seen
    rows, a, b = way(ends).weights["5.weight"], ends.a["5.weight"], ends.b["5.weight"]
    red, green, blue, grey = range(4)
    assert torch.equal(rows[red], a[red]) and torch.equal(rows[[green, grey]], b[[green, grey]])
    assert (
        torch.allclose(rows[blue], (a[blue] + b[blue]) / 2, atol=1e-6) and a[green].eq(0).all() and b[red].eq(0).all()
    )


def test_masked_losses_are_those_that_the_ends_were_trained_to(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Ends] = []
    monkeypatch.setitem(candidates.WAYS, "mean", lambda ends: seen.append(ends) or way(ends))  # type: ignore[index, func-returns-value]
    way = WAYS["A, finetuned"]
    united(budget=1)
    (ends,) = seen
    a, _ = ends.filled()
    for task, low in ((masked_task(ends), True), (ends.task, False)):
        workspace, own = Workspace(task, CPU), {"own": _of(task, ends.places[0])}
        scores, _ = evaluate(workspace, a, own)
        assert scores["own"] and (scores["own"].loss < 0.2) == low


def _of(task: Task, places: Sequence[int]) -> Any:
    rows = torch.isin(task.train.targets, torch.tensor(places))  # type: ignore[attr-defined]
    return type(task.train)(task.train.inputs[rows], task.train.targets[rows])  # type: ignore[attr-defined, call-arg]


def test_what_is_written_has_the_form_of_a(tmp_path: Path) -> None:
    places = heads.files(tmp_path, heads.A, heads.B)
    out = tmp_path / "run"
    found = unite(places, heads.points(), labels=[heads.A, heads.B], compute=CPU, budget=10, out=out)
    assert found.file == out / "merged.pt"
    written = checkpoint.read(found.file)
    assert written.nesting == ("state_dict",) and torch.equal(written.weights["5.bias"], found.weights["5.bias"])
    told = json.loads((out / "union.json").read_text())
    assert told["chosen"] == found.chosen and told["steps"] == 10 and told["classes"] == list(heads.CLASSES)
    assert [one["name"] for one in told["candidates"]] == list(WAYS)
    assert (out / "labels.txt").read_text().split() == list(heads.CLASSES)
    with pytest.raises(RunError, match="is not an empty folder"):
        unite(places, heads.points(), labels=[heads.A, heads.B], compute=CPU, budget=10, out=out)


def test_a_way_that_fails_says_why_and_the_others_go_on() -> None:
    found = united(max_loss=1e-6, budget=5)
    failed = {one.name: one.failed for one in found.candidates if one.failed}
    assert list(failed) == ["path point, finetuned"] and "1e-06" in failed["path point, finetuned"]
    found = united(lr=1e30, budget=20)
    failed = {one.name: one.failed for one in found.candidates if one.failed}
    assert "diverged at a learning rate of 1e+30: give a lower --lr" in failed["A, finetuned"]
    assert found.chosen == "mean"


def test_units_stay_as_they_are_where_no_symmetry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def untraced(ends: Ends) -> Ends:
        raise OrderError("no trace")

    assert united(budget=1).notes == ["B's units were brought into A's order"]
    monkeypatch.setattr(Ends, "aligned", untraced)
    assert united(budget=1).notes == ["all units stay as they are: no symmetry can be derived: no trace"]
    assert united(budget=1, align="never").notes == []
    with pytest.raises(OrderError, match="no trace"):
        united(budget=1, align="always")


NO_VALIDATION = replace(heads.points(), validation=None)


@pytest.mark.parametrize(
    ("labels", "task", "error", "words"),
    [
        ([], heads.points(), MismatchError, "no labels are known for model 1: give them with --labels"),
        ([heads.A], heads.points(), MismatchError, "two models are joined, with labels for each: got 2, and 1 labels"),
        ([("red", "red"), heads.B], heads.points(), MismatchError, "the labels of model 1 name 'red' twice"),
        ([(*heads.A, "grey"), heads.B], heads.points(), MismatchError, "model 1 has 2 outputs, and 3 labels are given"),
        (
            [heads.A, ("grey", "pink")],
            heads.points(),
            MismatchError,
            "have no class pink, which model 2 knows; they have",
        ),
        ([heads.A, heads.A], heads.points(), MismatchError, "have classes that no model knows: green, grey"),
        ([heads.A, heads.B], heads.points(()), TaskError, "'points' names no classes, so that heads cannot be joined"),
        ([heads.A, heads.B], NO_VALIDATION, TaskError, "has no validation data, by which the best network is chosen"),
        ([heads.A, heads.B], heads.points((*heads.CLASSES, "x")), MismatchError, "no model knows: x; leave their"),
    ],
)
def test_labels_heads_and_data_that_do_not_meet(
    labels: Any, task: Task, error: type[LLPFError], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as refused:
        unite(pair(), task, labels=labels, compute=CPU, out=tmp_path / "run")
    assert words in str(refused.value) and not (tmp_path / "run").exists()


def test_other_models_are_refused() -> None:
    with pytest.raises(MismatchError, match="two models are joined, with labels for each: got 3"):
        unite([*pair(), *pair()[:1]], heads.points(), labels=[heads.A, heads.B], compute=CPU)
    a, b = pair()
    with pytest.raises(MismatchError, match=r"1 tensors differ in shape: 0\.weight"):
        unite([a, {**b, "0.weight": torch.ones(24, 9)}], heads.points(), labels=[heads.A, heads.B], compute=CPU)
    with pytest.raises(MismatchError, match="NaN"):
        unite(
            [a, {**b, "0.bias": torch.full((24,), torch.nan)}], heads.points(), labels=[heads.A, heads.B], compute=CPU
        )


def test_labels_come_from_the_configuration_of_a_folder(tmp_path: Path) -> None:
    config, like = tmp_path / "config.json", checkpoint.plain_form({"x": torch.ones(1)})
    like = replace(like, companions=(config,))
    config.write_text(json.dumps({"id2label": {"10": "k", "2": "c", "0": "a"}}))
    assert labels_of("a", like) == ("a", "c", "k") and labels_of("a", like, ("x", "y")) == ("x", "y")
    config.write_text(json.dumps({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}))
    with pytest.raises(MismatchError, match="no labels are known for a:"):
        labels_of("a", like)
    assert union_of(("a", "b"), ("c", "b", "d")) == ("a", "b", "c", "d")
    assert Source.of({"x": torch.ones(1)}).like is None
