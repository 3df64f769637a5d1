"""Which pairs of more than two models are merged, and what became of each, as a file beside their runs."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin.errors import LLPFError, RunError
from llpf_plugin.runs import Join, Node, balanced, open_tree, save_tree


@given(st.integers(1, 300))
def test_every_model_is_joined_and_none_too_often(count: int) -> None:
    root = balanced(count)
    pairs = list(root.pairs())
    assert len(pairs) == count - 1 and root.height == math.ceil(math.log2(count))
    ready = {Node(i, i) for i in range(count)}
    for pair in pairs:  # both halves are there when a pair is walked, and are used up by it
        ready -= set(pair.halves)
        ready.add(pair)
    assert ready == {root}


def test_a_tree_of_five_by_hand() -> None:
    assert [node.name for node in balanced(5).pairs()] == ["1-2", "1-3", "4-5", "1-5"]
    assert [half.name for half in balanced(5).halves[0].halves] == ["1-2", "3"]
    with pytest.raises(LLPFError, match="no model"):
        balanced(0)


def test_a_tree_is_kept_and_edits_are_refused(tmp_path: Path) -> None:
    scores = {"A": "1", "B": "2", "merged": "3"}
    joins = [Join(node, True, 0.1, 5, 1.0, scores) for node in balanced(3).pairs()]
    assert open_tree(tmp_path) is None
    save_tree(tmp_path, "abc", joins)
    assert open_tree(tmp_path) == (["a", "b", "c"], joins)
    save_tree(tmp_path, "abcd", joins)
    with pytest.raises(RunError, match="does not describe a tree of 4 models"):
        open_tree(tmp_path)
    (tmp_path / "tree.json").write_text("{")
    with pytest.raises(RunError, match="edited or damaged"):
        open_tree(tmp_path)


@pytest.mark.parametrize(
    "damage", [{"joins": None}, {"joins": [{}]}, {"models": None}, {"joins": [{"node": [0, 1], "unknown": 1}]}]
)
def test_a_tree_that_was_edited_beyond_reading_is_refused(tmp_path: Path, damage: dict[str, Any]) -> None:
    save_tree(tmp_path, "ab", [Join(balanced(2), True, 0.1, 5, 1.0, {})])
    document = json.loads((tmp_path / "tree.json").read_text())
    (tmp_path / "tree.json").write_text(json.dumps({**document, **damage}))
    with pytest.raises(RunError, match="edited or damaged"):
        open_tree(tmp_path)


def test_names_count_from_1() -> None:
    assert [Node(2, 2).name, Node(0, 3).name] == ["3", "1-4"] and Node(2, 2).leaf and not Node(0, 3).leaf
