"""What a report measures of a run, and its notes on what does not fit together."""

from dataclasses import replace

import pytest
from helpers import tiny
from torch import nn

from llpf_plugin.errors import LLPFError, MismatchError, RunError
from llpf_plugin.quality import OriginQuality, Quality
from llpf_plugin.report import EXTRAS, Measured, measure_run, measure_stored, same_measurement
from llpf_plugin.runs import MergedModel, StoredRun, Verdict


def test_a_path_is_measured_again_as_the_search_measured_it(run: StoredRun, quality: Quality) -> None:
    again = measure_run(run, tiny.conv(), 4, None)
    assert again.maximum == pytest.approx(quality.maximum) and again.goal == quality.goal == 0.2
    assert [row.t for row in again.rows] == pytest.approx([row.t for row in quality.rows])
    assert again.connected == quality.connected


def test_more_points_and_fewer_examples(run: StoredRun, quality: Quality) -> None:
    again = measure_run(run, tiny.conv(), 2, 30)
    assert len(again.rows) == 2 * (len(quality.path.knots) - 1) + 1 and again.sample == 30


def test_progress_is_told(run: StoredRun) -> None:
    told = list[tuple[str, int, int]]()
    measure_run(run, tiny.conv(), 1, 30, tell=lambda *words: told.append(words))
    dones = [done for _, done, _ in told]
    assert dones == sorted(dones) and told[-1] == ("run: path", dones[-1], dones[-1])


def test_a_walk_to_the_origin_is_judged_as_one(run: StoredRun) -> None:
    down = replace(run, asked=replace(run.asked, b="origin"))
    assert isinstance(measure_run(down, tiny.conv(), 1, 30), OriginQuality)


def test_a_task_of_another_model_is_refused(run: StoredRun) -> None:
    with pytest.raises(MismatchError, match=r"run, A"):
        measure_run(run, tiny.mlp(), 1, None)


# ---- what is always there, and the extras


def test_what_costs_nothing_is_always_there(measured: Measured) -> None:
    assert len(measured.line) == 11 and measured.notes == []
    assert measured.trace.layers == ("conv1", "conv2", "fc"), "in the order of the data flow"
    assert [one.name for one in measured.tensors][:1] == ["conv1.weight"]
    assert not (measured.plane or measured.saddle or measured.layers or measured.sharpness)


def test_every_extra_is_measured_where_it_is_asked_for(everything: Measured) -> None:
    assert all(getattr(everything, extra) for extra in EXTRAS if extra != "plane") and everything.plane is not None
    assert set(everything.diversity) == {"validation", "test"}
    assert list(everything.sharpness)[:2] == ["A", "middle"] and list(everything.sharpness) == list(everything.flatness)


@pytest.mark.parametrize("extra", ["saddle", "layers"])
def test_one_extra_alone(run: StoredRun, quality: Quality, extra: str) -> None:
    found = measure_stored(run, quality, [extra])
    assert getattr(found, extra) and [e for e in EXTRAS if getattr(found, e)] == [extra]


def test_an_unknown_extra_lists_those_that_there_are(run: StoredRun, quality: Quality) -> None:
    with pytest.raises(LLPFError, match=r"no beauty to measure; there are plane, saddle"):
        measure_stored(run, quality, ["beauty"])


def test_the_runs_own_point_is_the_merged_model(run: StoredRun, quality: Quality) -> None:
    verdict = Verdict(True, quality.maximum, 0.0, None, MergedModel("merged.pt", 0.25))
    assert measure_stored(replace(run, verdict=verdict), quality).picked.t == 0.25
    assert measure_stored(run, quality).picked.t == quality.pick("best").t


# ---- notes


def noted(run: StoredRun, quality: Quality, **verdict: object) -> list[str]:
    values = {"connected": True, "maximum": quality.maximum, "integral": 0.0, **verdict}
    return measure_stored(replace(run, verdict=Verdict(**values)), quality).notes  # type: ignore[arg-type]


def test_another_maximum_than_the_searchs_is_noted(run: StoredRun, quality: Quality) -> None:
    assert noted(run, quality) == []
    (note,) = noted(run, quality, maximum=7.0)
    assert "dense maximum is 7" in note and f"{quality.maximum:.4g}" in note


def test_it_is_not_where_the_two_were_not_measured_alike(run: StoredRun, quality: Quality) -> None:
    assert noted(run, quality, maximum=7.0, sample=30) == []
    finer = replace(run, asked=replace(run.asked, search={"points": 8}))
    assert noted(finer, quality, maximum=7.0) == []


def test_layers_stand_as_the_model_lists_them_where_their_order_cannot_be_had(
    run: StoredRun, quality: Quality, monkeypatch: pytest.MonkeyPatch
) -> None:
    def objective(model: nn.Module, batch: object) -> object:
        raise RuntimeError("it calls no model")

    task = replace(quality.workspace.task, objective=objective)
    monkeypatch.setattr(quality.workspace, "traceable", task)
    monkeypatch.setattr(Quality, "pick", lambda *_: None)
    found = measure_stored(run, quality, line=[0.0, 0.0])
    (note,) = found.notes
    assert "layers stand as the model lists them" in note and found.trace.layers == tuple(quality.layers)


# ---- several runs


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        ([(4, None)], (None, None), (4, None)),
        ([(4, 100), (2, 300)], (None, None), (4, 300)),
        ([(4, 100), (2, None)], (None, None), (4, None)),
        ([(4, None)], (7, 50), (7, 50)),
    ],
)
def test_runs_are_measured_alike(
    run: StoredRun, own: list[tuple[int, int | None]], given: tuple[int | None, int | None],
    expected: tuple[int, int | None],
) -> None:  # fmt: skip
    runs = [replace(run, asked=replace(run.asked, search={"points": p, "sample": s})) for p, s in own]
    assert same_measurement(runs, *given) == expected


@pytest.mark.parametrize("search", [{"points": "many"}, {"points": 0}, {"points": 4, "sample": -1}])
def test_settings_that_are_no_numbers(run: StoredRun, search: dict[str, object]) -> None:
    with pytest.raises(RunError, match="edited by hand"):
        same_measurement([replace(run, asked=replace(run.asked, search=search))], None, None)
