"""The paper's networks that are no plain residual chain: CCT7 and DLA; and phases given by hand."""

from pathlib import Path

import networkx as nx
import pytest
import torch
from helpers.order_networks import CCT, DLA

from llpf_plugin.errors import OrderError
from llpf_plugin.order import LayerOrder, layer_order, phases

IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.fixture(scope="module")
def cct() -> LayerOrder:
    return layer_order(CCT(dim=16), IMAGE)


@pytest.fixture(scope="module")
def dla() -> LayerOrder:
    return layer_order(DLA(width=4), IMAGE)


def test_cct7_is_a_chain_in_the_order_of_execution(cct: LayerOrder) -> None:
    names = [layer.name for layer in cct.layers]
    block = ["self_attn.qkv", "self_attn.proj", "norm1", "linear1", "linear2"]
    blocks = [f"classifier.blocks.{i}.{name}" for i in range(7) for name in block]
    pooling = [f"classifier.{name}" for name in ("norm", "attention_pool", "fc")]
    assert names == ["tokenizer.conv", "classifier.positional_emb", *blocks, *pooling]
    assert cct["classifier.blocks.3.self_attn.qkv"].attached == ("classifier.blocks.3.pre_norm",)
    assert all(layer.after == (previous,) for layer, previous in zip(cct.layers[1:], names, strict=False))
    assert not any(layer.parallel for layer in cct.layers)
    assert len(phases(cct, "block")) == len(phases(cct, "stage")) == 10


def test_dla_has_six_parallel_regions(dla: LayerOrder) -> None:
    regions = {part.split(".")[0] for layer in dla.layers if layer.parallel for part in layer.parallel.split("/")}
    assert len(dla.layers) == 44 and len(regions) == 6
    assert len(list(nx.topological_generations(dla.dag))) == 34
    assert (len(phases(dla, "block")), len(phases(dla, "stage"))) == (24, 8)
    assert [phase.name for phase in phases(dla, "stage")][-3:] == ["layer5", "layer6", "linear"]
    assert dla["layer4.root.conv"].after[-1] == "layer4.right_node.conv2"


def test_at_most_that_many_phases_and_every_layer_once(dla: LayerOrder) -> None:
    names = [layer.name for layer in dla.layers]
    for most in (1, 2, 5, 8, 44, 100):
        cut = phases(dla, "layer", most=most)
        assert len(cut) == min(most, 44)
        assert [name for phase in cut for name in phase.layers] == names
    sizes = [len(phase.layers) for phase in phases(dla, "layer", most=4)]
    assert max(sizes) <= 2 * min(sizes)


def test_the_papers_own_cct_schedule_is_no_fdf_and_can_be_given(cct: LayerOrder, tmp_path: Path) -> None:
    lines = [
        "phases:",
        "  - name: ends",
        "    layers: [tokenizer, classifier.norm, classifier.attention_pool, classifier.fc]",
    ]
    lines += [f"  - [classifier.blocks.{i}]" for i in range(6)] + ["  - rest"]
    file = tmp_path / "phases.yaml"
    file.write_text("\n".join(lines))
    cut = phases(cct, file)
    assert cut == phases(cct, str(file))
    assert cut[0].name == "ends" and cut[0].layers[-1] == "classifier.fc"
    assert cut[-1].layers[0] == "classifier.positional_emb"
    assert [phase.name for phase in cut[1:3]] == ["classifier.blocks.0", "classifier.blocks.1"]
    assert sorted(name for phase in cut for name in phase.layers) == sorted(layer.name for layer in cct.layers)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            [["tokenizer"], ["classifier.nrom"]],
            "CCT: the pattern 'classifier.nrom' names nothing; did you mean classifier.norm",
        ),
        ([["tokenizer"], ["tokenizer.conv", "rest"]], "phases 1 and 2 both name the layer tokenizer.conv"),
        ([["tokenizer"], ["classifier.blocks"]], r"no phase names classifier.positional_emb, .*\(4 of 40 layers\)"),
        ([["rest"], ["rest"]], "'rest' stands in 2 phases"),
        ([["rest"], ["tokenizer", "classifier"]], "phase 1 has no layers"),
        ("stages", "unknown phases 'stages'; choose all, layer, block, stage"),
    ],
)
def test_patterns_that_do_not_fit_are_named(cct: LayerOrder, patterns: list[list[str]], message: str) -> None:
    with pytest.raises(OrderError, match=message):
        phases(cct, patterns)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phases: 3", "does not hold a list"),
        ("- [1, 2]", r"phases.yaml, phase 1: expected a list of patterns, got \[1, 2\]"),
        ("a: [", "cannot read the phase file"),
        ("[{name: a, layers: [tokenizer]}, {name: a, layers: [rest]}]", "more than one phase is called 'a'"),
    ],
)
def test_phase_files_that_are_none_are_named(cct: LayerOrder, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "phases.yaml"
    file.write_text(text)
    with pytest.raises(OrderError, match=message):
        phases(cct, file)
