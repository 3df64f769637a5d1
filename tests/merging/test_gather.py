"""More than two models in one frame: whether it is kept, what is said, and that all stay the same functions."""

import sys
from pathlib import Path

import pytest
import torch
from helpers import tiny

from llpf_plugin import LLPF, Compute, LLPFError, merge
from llpf_plugin.alignment import align_all
from llpf_plugin.errors import MismatchError, OrderError
from llpf_plugin.evaluation import difference_of_outputs
from llpf_plugin.geometry import Weights, clone
from llpf_plugin.merging import Align, Watch, gather
from llpf_plugin.merging.gather import gathered
from llpf_plugin.runs.read import read_info

CPU = Compute("cpu")


class Told(Watch):
    """Keeps what is said of the frame."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_gather(self, sentence: str) -> None:
        self.said.append(sentence)


def models(count: int = 3) -> list[Weights]:
    return [clone(tiny.trained("mlp", seed)) for seed in range(1, count + 1)]


def test_three_models_come_into_the_frame_of_the_first() -> None:
    before, task = models(), tiny.mlp()
    found, sentence = gathered(before, task, "auto", CPU)
    assert "models 2 to 3 were re-ordered and scaled into the first one's frame: loss of the mean of all" in sentence
    for one, other, old in zip(found, align_all(before, task).weights, before, strict=True):
        assert tiny.same(one, other)
        assert difference_of_outputs(task.model, task.example_inputs(), old, one) < 1e-5
    assert tiny.same(found[0], before[0]) and not torch.equal(found[2]["0.weight"], before[2]["0.weight"])


@pytest.mark.parametrize(("count", "align"), [(2, "auto"), (2, "always"), (3, "never")])
def test_two_models_and_models_that_are_not_to_be_aligned_are_left_alone(count: int, align: Align) -> None:
    before, told = models(count), Told()
    found = merge(before, tiny.mlp(), align=align, max_loss=0.3, watch=told)
    assert told.said == [] and tiny.same(dict(found.pairs[0].quality.path.start), before[0])


def test_a_frame_that_does_not_lower_the_mean_is_kept_only_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter((0.1, 0.2, 0.1, 0.2))
    monkeypatch.setattr(gather, "train_loss", lambda *_: next(losses))
    before, why = models(), "one frame did not lower the loss of the mean of all 0.1, in one frame 0.2"
    assert gathered(before, tiny.mlp(), "auto", CPU) == (before, f"models stay in their own frames: {why}")
    found, sentence = gathered(before, tiny.mlp(), "always", CPU)
    assert "into the first one's frame: loss of the mean of all 0.1, in one frame 0.2" in sentence
    assert not tiny.same(found[1], before[1])


def test_a_model_that_cannot_be_traced_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OrderError("it does not run")

    monkeypatch.setattr(gather, "align_all", refuse)
    before, why = models(), "no symmetry can be derived: it does not run"
    assert gathered(before, tiny.mlp(), "auto", CPU) == (before, f"models stay in their own frames: {why}")
    with pytest.raises(OrderError, match="it does not run"):
        gathered(before, tiny.mlp(), "always", CPU)


def test_a_tree_says_it_once_and_its_runs_keep_it(tmp_path: Path) -> None:
    own, told = models(), Told()
    found = merge(own, tiny.mlp(), max_loss=0.3, watch=told, out=tmp_path / "tree")
    assert len(told.said) == 1 and found.connected
    assert [read_info(tmp_path / "tree" / name)["frame"] for name in ("1-2", "1-3")] == 2 * told.said
    assert tiny.same(dict(found.pairs[0].quality.path.start), own[0])


def test_a_schedule_of_the_paper_means_never(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(models: object, task: object, align: str, *_: object) -> object:
        asked.append(align)
        raise LLPFError("far enough")

    def stop(*_: object) -> None:
        raise LLPFError("far enough")

    module = sys.modules["llpf_plugin.merging.merge"]  # the package has its function under this name
    monkeypatch.setattr(module, "gathered", note)
    monkeypatch.setattr(module, "open_pair", stop)
    for align, expected in (("auto", []), ("always", ["always"])):
        with pytest.raises(LLPFError, match="far enough"):
            merge(models(), tiny.mlp(), LLPF(schedule="lenet5-mnist"), align=align)
        assert asked == expected


def test_a_copy_whose_units_were_shuffled_is_refused_by_its_pair() -> None:
    first, second, _ = models()
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    copy = {"0.weight": first["0.weight"][order], "0.bias": first["0.bias"][order], "2.bias": first["2.bias"].clone()}
    copy["2.weight"] = first["2.weight"][:, order]
    with pytest.raises(MismatchError, match="A and B are the same model"):
        merge([first, copy, second], tiny.mlp(), max_loss=0.3)
