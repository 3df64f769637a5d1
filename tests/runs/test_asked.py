"""What a run was asked for: read back, compared, and as the first edition wrote it."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from llpf_plugin import LLPF, Compute, SphereCurve
from llpf_plugin.runs import Asked
from llpf_plugin.runs.asked import differences
from llpf_plugin.search import SearchOptions

ASKED = Asked(
    "aaaa", "bbbb", "digits/resnet", {"width": 8}, "llpf", LLPF(share=0.2).settings(),
    SearchOptions(max_loss=0.1, seed=3).to_json(), "auto", asdict(Compute("cpu")),
)  # fmt: skip

FIRST_EDITION: dict[str, Any] = {
    "a": "aaaa", "b": "bbbb", "task": "digits/mlp", "task_arguments": {"width": 12}, "align": False,
    "settings": {
        "max_loss": None, "tolerance": 0.3, "budget": 500, "lr": None, "momentum": None, "batch_size": None,
        "points": 2, "sample": 300, "seed": 4, "method": "sphere-curve", "steps": 80, "phases": "auto",
        "pace": "adaptive", "barrier": None, "polish": 0, "sides": "one",
    },
    "compute": {"device": "cpu", "precision": "float32", "compile": False, "channels_last": False},
}  # fmt: skip
"""As version 0.1 wrote it: one bag of settings for all methods."""


def test_what_was_asked_survives_json() -> None:
    assert Asked.from_json(json.loads(json.dumps(ASKED.to_json()))) == ASKED


def test_nothing_differs_from_itself() -> None:
    assert not differences(ASKED, ASKED)
    assert not differences(ASKED, Asked.from_json(json.loads(json.dumps(ASKED.to_json()))))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(ASKED, a="cccc"), ["a was 'aaaa', is 'cccc'"]),
        (replace(ASKED, align="never"), ["align was 'auto', is 'never'"]),
        (replace(ASKED, task_arguments={}), ["task_arguments.width was 8, is None"]),
        (replace(ASKED, search=SearchOptions(max_loss=0.1, seed=4).to_json()), ["search.seed was 3, is 4"]),
        (
            replace(ASKED, method_settings=LLPF(share=0.3, phases="all").settings()),
            ["method_settings.phases was 'auto', is 'all'", "method_settings.share was 0.2, is 0.3"],
        ),
        (replace(ASKED, ticks=3, to="0.5"), ["ticks was None, is 3", "to was None, is '0.5'"]),
        (replace(ASKED, compute=asdict(Compute("cuda"))), ["compute.device was 'cpu', is 'cuda'"]),
    ],
)
def test_what_differs_is_named_with_both_values(now: Asked, words: list[str]) -> None:
    assert list(differences(ASKED, now).values()) == words


def without(setting: str) -> Asked:
    """What a version that did not have this setting of the computation would have kept."""
    return replace(ASKED, compute={name: value for name, value in ASKED.compute.items() if name != setting})


def test_a_setting_that_came_later_and_is_off_is_no_difference() -> None:
    assert "shard" in ASKED.compute
    assert not differences(without("shard"), ASKED)
    on = replace(ASKED, compute={**ASKED.compute, "shard": True})
    assert list(differences(without("shard"), on).values()) == ["compute.shard was None, is True"]


def test_an_argument_of_a_task_that_is_off_is_a_difference() -> None:
    now = replace(ASKED, task_arguments={**ASKED.task_arguments, "augment": False})
    assert list(differences(ASKED, now).values()) == ["task_arguments.augment was None, is False"]


def test_another_method_differs_in_its_settings_too() -> None:
    found = list(
        differences(
            ASKED, replace(ASKED, method="sphere-curve", method_settings=SphereCurve(steps=9).settings())
        ).values()
    )
    assert found[0] == "method was 'llpf', is 'sphere-curve'"
    assert "method_settings.steps was None, is 9" in found and "method_settings.share was 0.2, is None" in found


def test_settings_of_the_first_edition_are_sorted_into_those_of_the_search_and_those_of_the_method() -> None:
    asked = Asked.from_version_1(FIRST_EDITION)
    assert (asked.a, asked.b, asked.task, asked.task_arguments) == ("aaaa", "bbbb", "digits/mlp", {"width": 12})
    assert asked.method == "sphere-curve" and asked.align == "never" and asked.compute["device"] == "cpu"
    assert SearchOptions.from_json(asked.search) == SearchOptions(
        tolerance=0.3, budget=500, points=2, sample=300, seed=4
    )
    assert asked.method_settings == {
        "steps": 80, "phases": "auto", "pace": "adaptive", "barrier": None, "polish": 0, "sides": "one",
    }  # fmt: skip


def test_the_first_edition_may_leave_out_what_it_did_not_know() -> None:
    bare = Asked.from_version_1({"a": "x", "b": "origin", "task": "t", "to": "0.5", "align": True})
    assert bare == Asked("x", "origin", "t", align="always", to="0.5")
    with pytest.raises(TypeError, match="task"):
        Asked.from_version_1({"a": "x", "b": "y"})
