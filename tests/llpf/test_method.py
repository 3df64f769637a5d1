"""LLPF's settings as a value, beyond what `methods/test_every_method.py` asks of every method."""

from typing import Any

import pytest

from llpf_plugin import LLPF, LLPFError
from llpf_plugin.llpf.method import Descent


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0.0}, r"llpf: share = 0: it must be in \(0, 1\]"),
        ({"share": 1.5}, r"share = 1\.5: it must be in \(0, 1\]"),
        ({"threshold": 0.0}, r"threshold = 0: it must be above 0"),
        ({"reject_above": -1.0}, "reject_above = -1"),
        ({"min_steps": 0}, r"min_steps = 0: it must be at least 1"),
        ({"min_steps": 2.5}, "min_steps = 2.5: it must be int"),
        ({"min_steps": 5, "max_steps": 4}, "min_steps = 5 must not exceed max_steps = 4"),
        ({"correct": "matrix"}, "correct = 'matrix': it must be one of matrices, all, none"),
        ({"across": "sometimes"}, "across = 'sometimes': it must be one of auto, never, always"),
        ({"repairs": -1}, r"repairs = -1: it must be at least 0"),
        ({"thin": -0.1}, r"thin = -0\.1"),
        ({"thin": float("nan")}, "thin = nan"),
        ({"phases": 2.5}, "phases = 2.5: it must be str or int"),
        ({"schedule": 3}, "schedule = 3: it must be str or None"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LLPFError, match=message):
        LLPF(**settings)


def test_bounds_themselves_are_settings() -> None:
    LLPF(share=1.0, min_steps=1, max_steps=1, repairs=0, thin=0.0, phases=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"to": 1.5}, r"to = 1\.5: it must be in \[0, 1\)"), ({"to": 1.0}, "to = 1"), ({"ticks": 0}, "ticks = 0")],
)
def test_descents_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LLPFError, match=message):
        Descent(**settings)


def test_a_descent_goes_under_the_name_of_its_method() -> None:
    assert Descent().name == LLPF.name == "llpf" and Descent(LLPF(share=0.2)).llpf.share == 0.2
