"""Phases: stages and blocks, to a number, by patterns, from a file, and cumulated."""

from pathlib import Path

import pytest
from helpers.orders import cct, dla, resnet18

from llpf_plugin.errors import OrderError
from llpf_plugin.order import cumulative, phases


def test_resnet18_stages_are_the_phases_of_the_paper_tensor_for_tensor() -> None:
    model, order = resnet18()
    paper = [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"], ["fc"]]
    expected = [{name for name, _ in model.named_parameters() if name.split(".")[0] in phase} for phase in paper]
    found = [{p for layer in phase.layers for p in order[layer].parameters} for phase in phases(order, "stage")]
    assert found == expected


def test_cumulated_a_phase_holds_the_parameters_of_all_before_it() -> None:
    model, order = resnet18()
    active = cumulative(order, phases(order))
    assert list(active) == ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert active["conv1"] == {"conv1.weight", "bn1.weight", "bn1.bias"}
    assert active["layer1"] - active["conv1"] == {n for n, _ in model.named_parameters() if n.startswith("layer1.")}
    assert active["fc"] == {name for name, _ in model.named_parameters()}


def test_at_most_that_many_phases_and_every_layer_once() -> None:
    names = [layer.name for layer in dla().layers]
    for most in (1, 2, 5, 8, 44, 100):
        cut = phases(dla(), "layer", most=most)
        assert len(cut) == min(most, 44)
        assert [name for phase in cut for name in phase.layers] == names
    sizes = [len(phase.layers) for phase in phases(dla(), "layer", most=4)]
    assert max(sizes) <= 2 * min(sizes)


def test_a_number_is_blocks_merged_to_at_most_that_many() -> None:
    assert phases(dla(), 8) == phases(dla(), "8") == phases(dla(), "block", most=8) == phases(dla(), 20, most=8)
    assert phases(dla(), 100) == phases(dla(), "block")
    for too_few in (0, "0"):
        with pytest.raises(OrderError, match="0 phases were asked for; a schedule needs at least one"):
            phases(dla(), too_few)
    with pytest.raises(OrderError, match="-1 phases were asked for"):
        phases(dla(), "stage", most=-1)


def test_the_papers_own_cct_schedule_is_no_fdf_and_can_be_given(tmp_path: Path) -> None:
    lines = [
        "phases:",
        "  - name: ends",
        "    layers: [tokenizer, classifier.norm, classifier.attention_pool, classifier.fc]",
    ]
    lines += [f"  - [classifier.blocks.{i}]" for i in range(6)] + ["  - rest"]
    file = tmp_path / "phases.yaml"
    file.write_text("\n".join(lines))
    cut = phases(cct(), file)
    assert cut == phases(cct(), str(file))
    assert cut[0].name == "ends" and cut[0].layers[-1] == "classifier.fc"
    assert cut[-1].layers[0] == "classifier.positional_emb"
    assert [phase.name for phase in cut[1:3]] == ["classifier.blocks.0", "classifier.blocks.1"]
    assert sorted(name for phase in cut for name in phase.layers) == sorted(layer.name for layer in cct().layers)


def test_a_mode_is_never_taken_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = phases(dla(), "stage"), phases(dla(), 3)
    for name in ("stage", "3"):
        (tmp_path / name).write_text("[[rest]]")
    (tmp_path / "one").write_text("[[rest]]")
    assert (phases(dla(), "stage"), phases(dla(), "3")) == before and len(phases(dla(), "one")) == 1


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            [["tokenizer"], ["classifier.nrom"]],
            "CCT: the pattern 'classifier.nrom' names nothing; did you mean classifier.norm",
        ),
        (
            [["tokenizer"], ["tokenizer.conv_layers", "rest"]],
            "phases 1 and 2 both name the layer tokenizer.conv_layers.0.0",
        ),
        ([["tokenizer"], ["classifier.blocks"]], r"no phase names classifier.positional_emb, .*\(4 of 40 layers\)"),
        ([["rest"], ["rest"]], "'rest' stands in 2 phases"),
        ([["rest"], ["tokenizer", "classifier"]], "phase 1 has no layers"),
        ("stages", "unknown phases 'stages'; choose all, layer, block, stage"),
    ],
)
def test_patterns_that_do_not_fit_are_named(patterns: list[list[str]], message: str) -> None:
    with pytest.raises(OrderError, match=message):
        phases(cct(), patterns)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phases: 3", "does not hold a list"),
        ("- [1, 2]", r"phases.yaml, phase 1: expected a list of patterns, got \[1, 2\]"),
        ("a: [", "the phase file .* is not YAML"),
        ("[{name: a, layers: [tokenizer]}, {name: a, layers: [rest]}]", "more than one phase is called 'a'"),
    ],
)
def test_phase_files_that_are_none_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "phases.yaml"
    file.write_text(text)
    with pytest.raises(OrderError, match=message):
        phases(cct(), file)
