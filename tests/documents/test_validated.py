"""What a file holds is checked against the dataclass that reads it."""

from dataclasses import dataclass, field

import pytest

from llpf_plugin.documents import validated


@dataclass(frozen=True)
class Inner:
    at: float


@dataclass(frozen=True)
class Outer:
    name: str
    inner: list[Inner] = field(default_factory=list)
    pair: tuple[int, str] | None = None


def test_nested_values_come_out_typed_and_unknown_names_are_left_out() -> None:
    made = validated(Outer, {"name": "a", "inner": [{"at": 1, "more": 2}], "pair": [1, "b"], "else": 3})
    assert made == Outer("a", [Inner(1.0)], (1, "b"))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "Outer: name: field required$"),
        ({"name": []}, r"Outer: name: input should be a valid string, got \[\]"),
        ({"name": "a", "inner": [{"at": 1}, {"at": "x"}]}, "Outer: inner.1.at: .*, got 'x'"),
        ({"name": "a", "inner": {"at": 1}}, "Outer: inner: "),
        ({"name": "a", "inner": [[["deep"]]]}, "Outer: inner.0: "),
        ({"name": "a", "pair": [1]}, "Outer: pair"),
        ([], "expected a mapping for Outer, got list"),
        ({"name": ["x" * 10_000]}, "Outer: name: "),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(values: object, told: str) -> None:
    with pytest.raises(TypeError, match=told) as caught:
        validated(Outer, values)
    assert len(str(caught.value)) < 300
