"""One pattern language for layers and parameters."""

import pytest
from helpers.orders import resnet18
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin.errors import OrderError
from llpf_plugin.order import matching, naming, select


def test_patterns_match_whole_components() -> None:
    order = resnet18()[1]
    assert select(order, ["bn1"]) == ("conv1",)
    assert len(select(order, ["layer1"])) == 4
    assert select(order, ["layer*.0.downsample"]) == tuple(f"layer{i}.0.downsample.0" for i in (2, 3, 4))
    with pytest.raises(OrderError, match="did you mean layer"):
        select(order, ["layer"])


NAMES = ("layer1.0.weight", "layer1.0.bias", "layer1.1.weight", "layer10.0.weight", "head.weight")


@pytest.mark.parametrize(
    ("patterns", "matched"),
    [
        (["layer1"], NAMES[:3]),
        ("layer1", NAMES[:3]),
        (["layer*"], NAMES[:4]),
        (["layer1.*.weight"], (NAMES[0], NAMES[2])),
        (["*.0"], (*NAMES[:2], NAMES[3])),
        (["head.weight", "layer1.0.bias"], (NAMES[1], NAMES[4])),
        (["layer?.[01].w*"], (NAMES[0], NAMES[2])),
        ([], ()),
    ],
)
def test_parameters_are_matched_by_the_same_patterns(patterns: list[str], matched: tuple[str, ...]) -> None:
    assert matching(patterns, NAMES, "here") == matched


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "head.weights",
            r"my.yaml, phase 2: the pattern 'head.weights' names nothing; did you mean head.weight",
        ),
        ("ayer1", "did you mean layer1"),
        ("*", "the pattern"),
    ],
)
def test_a_pattern_that_matches_nothing_is_named_with_the_nearest_paths(pattern: str, message: str) -> None:
    with pytest.raises(OrderError, match=message):
        matching([pattern], NAMES if pattern != "*" else (), "my.yaml, phase 2")


def test_the_shortest_patterns_that_name_some_parameters() -> None:
    names = ["conv1.weight", "layer1.0.weight", "layer1.0.bias", "layer1.1.weight", "layer10.0.weight", "scale"]
    assert naming(names, names) == ["all"]
    assert naming(names[1:4], names) == ["layer1"]
    assert naming({"layer1.0.weight", "layer1.0.bias", "scale"}, names) == ["layer1.0", "scale"]
    assert naming({"layer1.0.bias"}, names) == ["layer1.0.bias"]
    assert naming(set(), names) == []


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join), unique=True), st.data())
def test_what_such_patterns_match_is_what_they_were_made_for(paths: list[str], data: st.DataObject) -> None:
    names = [f"{path}.weight" for path in paths]
    some = data.draw(st.sets(st.sampled_from(names))) if names else set()
    patterns = naming(some, names)
    if patterns and patterns != ["all"]:
        assert set(matching(patterns, names, "here")) == some
