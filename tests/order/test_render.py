"""What people look at: table, tree, Mermaid, DOT."""

from helpers.orders import cct, dla

from llpf_plugin.order import phases, render


def test_the_table_has_one_line_per_layer() -> None:
    lines = render.table(dla()).splitlines()
    row = next(line for line in lines if " layer4.level_1.root.conv " in line)
    assert lines[0].split() == list(render.HEADER)
    assert row.split() == ["18", "5", "layer4.level_1.root.conv", "+", "bn", "Conv2d", "2.1k", "2.3", "17"]
    assert len(lines) == 2 + 44 + 2 and dla().fingerprint in lines[-1]


def test_the_tree_shows_repeated_blocks_once_and_in_the_order_of_the_data() -> None:
    text = render.tree(cct())
    assert text.count("pre_norm") == 1 and "0 … 6" in text and "EncoderLayer × 7" in text
    # Registered last but one, used before the blocks; linear layers with names of their own are never put together.
    places = [
        text.index(name) for name in ("positional_emb", "blocks", "norm1", "linear1", "linear2", "attention_pool")
    ]
    assert places == sorted(places)


def test_the_depth_of_the_tree_is_limited() -> None:
    names = [line[3:].partition("  ")[0] for line in render.tree(dla(), depth=1).splitlines()[1:]]
    assert names == ["base … layer2", "layer3", "layer4 … layer5", "layer6", "linear"]


def test_mermaid_and_dot_show_reduced_edges() -> None:
    chart = render.mermaid(dla()).splitlines()
    assert chart[0] == "flowchart TD" and '  P8["8. linear<br/>1 layer, 1.3k"]' in chart
    assert [line for line in chart if "-->" in line] == [f"  P{i} --> P{i + 1}" for i in range(1, 8)]
    reduced = sum(len(layer.after) for layer in dla().layers)
    assert render.mermaid(dla(), level="layer").count("-->") == render.dot(dla(), level="layer").count("->") == reduced
    assert render.dot(dla(), level="layer").count("subgraph") == 8


def test_phases_given_by_hand_may_point_backwards() -> None:
    assert "-->" not in render.mermaid(dla(), phases(dla(), [["linear"], ["base", "rest"]]))
