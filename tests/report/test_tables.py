"""The page's tables: their order, their sums, and what stands in the place of a number."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from llpf_plugin.quality import DEFINITIONS, GEOMETRY, Metric
from llpf_plugin.records import Cost, Knot, LegCost, Outcome
from llpf_plugin.report import Measured
from llpf_plugin.report.page_figures import comparison_figures
from llpf_plugin.report.style import drawing
from llpf_plugin.report.tables import (
    comparison_table,
    costs,
    method_table,
    metric_cell,
    metric_rows,
    score_rows,
    settings,
    tiles,
)

Variant = Callable[..., Measured]


def test_a_metric_is_its_number_or_the_reason_why_there_is_none() -> None:
    assert metric_cell(Metric(0.25), "share") == ("25.00 %", "")
    assert metric_cell(Metric(0.0456), "loss") == ("0.0456", "")
    assert metric_cell(Metric(None, "because"), "loss") == ("", "because")


def test_runs_that_reach_their_goal_come_first_by_their_cost(variant: Variant) -> None:
    runs = [
        variant("failed, higher", raised=2.0), variant("dear", steps=90), variant("failed", raised=1.0),
        variant("cheap", steps=5), variant("of unknown cost", steps=None), variant("without a goal", goal=None),
    ]  # fmt: skip
    rows = comparison_table(runs)
    names = [row["name"] for row in rows]
    assert names[:3] == ["cheap", "dear", "of unknown cost"]
    assert names[3:] == ["without a goal", "failed", "failed, higher"]
    assert [row["best"] for row in rows] == [True, False, False, False, False, False]
    assert rows[0]["merged_split"] == "test" and rows[0]["merged"].accuracy is not None


def test_where_one_was_trained_for_all_its_steps_maxima_count(variant: Variant) -> None:
    cheap, curve, failed = (
        variant("cheap", steps=5),
        variant("curve", steps=90, raised=-0.01),
        variant("no", raised=2.0),
    )
    assert [row["name"] for row in comparison_table([cheap, curve, failed])] == ["cheap", "curve", "no"]
    curve.quality.path.outcome = Outcome.TRAINED
    assert [row["name"] for row in comparison_table([cheap, curve, failed])] == ["curve", "cheap", "no"]


def test_what_does_not_lead_to_b_comes_last_and_reaches_no_goal(variant: Variant) -> None:
    tuned, failed = variant("finetuned", steps=1), variant("failed", raised=2.0)
    tuned.quality.path.labels = [*tuned.quality.path.labels[:-1], Knot("settled")]
    assert [row["name"] for row in comparison_table([tuned, failed])] == ["failed", "finetuned"]
    assert not tuned.reached and tuned.quality.maximum <= (tuned.quality.goal or 0)
    with drawing():
        frontier, _ = comparison_figures([tuned, failed])
        names = {text.get_text() for text in frontier.figure.axes[0].texts}
    assert "failed" in names and "finetuned" not in names


def test_runs_of_one_method_are_summed_up(variant: Variant) -> None:
    runs = [
        variant(steps=10), variant(steps=30, pair=("0", "2")), variant(steps=20, raised=1.0),
        variant(method="bezier", steps=7),
    ]  # fmt: skip
    llpf, bezier = method_table(runs)
    assert (llpf["method"], llpf["runs"], llpf["pairs"], llpf["reached"]) == ("llpf", 3, 2, 2)
    assert llpf["steps"] == "20 (10 to 30)" and bezier["steps"] == "7" and bezier["goal"]
    assert method_table([variant(), variant(method="bezier")]) == [], "one run a method has nothing to be summed up"


def test_costs_that_are_not_known_are_said_to_be_so(variant: Variant) -> None:
    assert method_table([variant(steps=None), variant(steps=None)])[0]["steps"] == "not recorded"
    assert dict(costs(variant(steps=None)))["gradient steps"] == "not recorded"


def test_what_a_person_looks_for_first(measured: Measured, variant: Variant) -> None:
    labels = {label: (value, beside) for label, value, beside in tiles(measured)}
    assert list(labels) == ["dense maximum", "straight line", "gradient steps", "length ratio", "merged model"]
    assert labels["dense maximum"][1] == "goal 0.2" and labels["merged model"][1].startswith("test, t = 0.")
    assert {label: beside for label, _, beside in tiles(variant(goal=None))}["dense maximum"] == "no goal was set"


def test_scores_have_a_row_each_and_a_reason_where_there_are_none(measured: Measured) -> None:
    rows = dict(score_rows(measured))
    assert list(rows) == [
        "A",
        "B",
        "A as saved",
        "B as saved",
        "last settled knot",
        "merged model",
        "path, worst of each",
    ]
    assert rows["path, worst of each"][2] == ("", "not tested") and rows["A"][0][1] == "100.00 %"
    bare = {key: replace(row, validation=None, validation_accuracy=None) for key, row in measured.quality.ends.items()}
    without = replace(measured, quality=replace(measured.quality, ends=bare))
    assert dict(score_rows(without))["A"][1] == ("", "no validation data")


def test_every_metric_has_a_row(measured: Measured, everything: Measured) -> None:
    rows = {row["definition"].title: row for row in metric_rows(measured)}
    assert len(rows) == len(DEFINITIONS)
    saddle = rows[DEFINITIONS["saddle"].title]
    assert saddle["train"] == ("", "not requested")
    assert {row["definition"].title for row in metric_rows(everything) if row["train"][1]} == set()
    assert [row["validation"] is None for row in rows.values()] == [name in GEOMETRY for name in DEFINITIONS]


def test_what_it_cost(measured: Measured) -> None:
    path = measured.quality.path
    rows = dict(costs(measured))
    assert rows["knots"] == f"{len(path.knots)}, 0 redundant ones removed"
    assert rows["measured points"] == f"{len(measured.quality.rows)}, on all training examples"
    cost = Cost(
        gradient_steps=9, seconds=90.0, repairs=2, peak_memory=3 * 2**20, legs={"A → A′": LegCost("ARRIVED", 5)}
    )
    across = replace(measured, quality=replace(measured.quality, path=replace(path, cost=cost, record=[])))
    rows = dict(costs(across))
    assert rows["leg A → A′"] == "5 gradient steps, arrived" and rows["peak memory, all in"] == "3 MiB"
    assert rows["ticks"] == "not recorded" and rows["repairs"] == "2" and rows["time of the search"] == "90.0 s"


def test_the_settings_of_the_run(measured: Measured) -> None:
    rows = dict(settings(measured))
    assert rows == {
        "method": "llpf", "task": "tiny/conv width=3", "a": "models/a.pt", "b": "models/b.pt",
        "command": "llpf merge a.pt b.pt", "points": "4", "max loss": "0.2", "thin": "0",
    }  # fmt: skip


@pytest.mark.parametrize("goal", [None, 1e-9])
def test_a_run_without_a_goal_or_above_it_has_not_reached_it(variant: Variant, goal: float | None) -> None:
    assert not variant(goal=goal).reached and variant().reached
