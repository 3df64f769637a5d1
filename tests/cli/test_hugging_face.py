"""Two folders of transformers in, a folder of transformers out: from the command line, without a line of Python."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import hugging_face as hf
from helpers import tiny
from helpers.commands import llpf, method
from helpers.refusals import refused

from llpf_plugin.runs import open_run

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

WORDS = ("--tolerance", 9, "--points", 1, "--no-report")
TASKS = {
    "gpt2": ("hf/causal-lm", "text", "AutoModelForCausalLM"),
    "llama": ("hf/causal-lm", "text", "AutoModelForCausalLM"),
    "bert-mlm": ("hf/masked-lm", "text", "AutoModelForMaskedLM"),
    "bert": ("hf/text-classification", "data", "AutoModelForSequenceClassification"),
    "vit": ("hf/image-classification", "images", "AutoModelForImageClassification"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hf")
    for kind in TASKS:
        for seed, name in enumerate("ab"):
            hf.folder(place / f"{kind}-{name}", kind, seed)
    hf.corpus(place / "text.txt")
    hf.table(place / "data.csv")
    hf.pictures(place / "images")
    return place


def asked(root: Path, kind: str) -> list[Any]:
    task, key, _ = TASKS[kind]
    data = {"text": "text.txt", "data": "data.csv", "images": "images"}[key]
    return [root / f"{kind}-a", root / f"{kind}-b", "--task", task, "-t", f"{key}={root / data}"]


def weights(kind: str, folder: Path) -> dict[str, torch.Tensor]:
    """As transformers loads them."""
    found, info = getattr(transformers, TASKS[kind][2]).from_pretrained(folder, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    return found.state_dict()  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", TASKS)
def test_two_folders_become_one(root: Path, kind: str, tmp_path: Path) -> None:
    result = llpf(
        "merge",
        *asked(root, kind),
        *WORDS,
        *method("linear"),
        "--align",
        "never",
        "--pick",
        0.25,
        "-o",
        tmp_path / "run",
    )
    assert result.code == 0, result.text
    a, b, merged = (weights(kind, p) for p in (root / f"{kind}-a", root / f"{kind}-b", tmp_path / "run" / "merged"))
    assert all(
        torch.allclose(t, 0.75 * a[k] + 0.25 * b[k], atol=1e-6) for k, t in merged.items() if t.is_floating_point()
    )
    for out in (tmp_path / "point", tmp_path / "point.safetensors"):
        point = llpf("point", tmp_path / "run", "--at", 0.25, "-o", out)
        assert point.code == 0, point.text
    again = weights(kind, tmp_path / "point")
    assert all(torch.allclose(t, merged[k], atol=1e-6) for k, t in again.items())
    kept = {p.name for p in (root / f"{kind}-a").iterdir()}
    assert {p.name for p in (tmp_path / "run" / "merged").iterdir()} == kept | {"README.md"}
    card = (tmp_path / "run" / "merged" / "README.md").read_text()
    assert f"{kind}-a" in card and f"{kind}-b" in card and "linear" in card and "t = 0.25" in card
    if kind != "vit":
        loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "run" / "merged")
        assert loaded("w1 w3")["input_ids"] == hf.tokenizer()("w1 w3")["input_ids"]


def test_three_folders_become_one(root: Path, tmp_path: Path) -> None:
    third = hf.folder(tmp_path / "c", "vit", 2)
    words = [*asked(root, "vit"), *WORDS, *method("linear"), "--align", "never", "--pick", "mid"]
    result = llpf("merge", words[0], words[1], third, *words[2:], "-o", tmp_path / "run")
    assert result.code == 0, result.text
    a, b, c, merged = (weights("vit", p) for p in (words[0], words[1], third, tmp_path / "run" / "merged"))
    assert all(torch.allclose(t, (a[k] + b[k]) / 4 + c[k] / 2, atol=1e-6) for k, t in merged.items())
    assert "| 1-3 | yes |" in (tmp_path / "run" / "merged" / "README.md").read_text()


def test_tied_weights_are_stored_once_and_stay_tied(root: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(root / "gpt2-a")
    assert model.lm_head.weight is model.transformer.wte.weight


def test_the_walk_and_the_report_and_every_other_command_take_folders(root: Path, tmp_path: Path) -> None:
    words = [*asked(root, "gpt2"), "-t", "length=16"]
    result = llpf("merge", *words, *WORDS, "--budget", 30, "--sample", 20, "-o", tmp_path / "run")
    assert result.code in (0, 3), result.text
    assert open_run(tmp_path / "run").asked.task_arguments["model"] == str((root / "gpt2-a").resolve())
    result = llpf("report", tmp_path / "run", "--metrics", "none", "--figures", "none", "--sample", 20)
    assert result.code in (0, 3), result.text
    result = llpf("point", tmp_path / "run", "--at", 0.3, "-o", tmp_path / "point")
    assert result.code == 0 and weights("gpt2", tmp_path / "point"), result.text
    result = llpf("check", *words, "--align", "--json")
    assert result.code == 0 and json.loads(result.out)["likeness_aligned"] > 0.1, result.text
    result = llpf("align", *words, "-o", tmp_path / "aligned")
    assert result.code == 0 and weights("gpt2", tmp_path / "aligned"), result.text


def test_heads_are_aligned_without_a_task_too(root: Path, tmp_path: Path) -> None:
    a, b = root / "gpt2-a", root / "gpt2-b"
    result = llpf("align", a, b, "--model", f"hf:{a}", "-o", tmp_path / "aligned")
    assert result.code == 0 and weights("gpt2", tmp_path / "aligned"), result.text
    assert "the network's outputs" not in result.out, "keys and values are no outputs"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half_and_bin_stays_bin(root: Path, dtype: torch.dtype, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        folder = hf.folder(tmp_path / name, "gpt2", seed)
        state = hf.network("gpt2", seed).to(dtype).state_dict()
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "dtype": str(dtype)[6:]}))
    words = ["--task", "hf/causal-lm", "-t", f"text={root / 'text.txt'}", "--align", "never", *method("linear")]
    result = llpf("merge", tmp_path / "a", tmp_path / "b", *words, *WORDS, "-o", tmp_path / "run")
    assert result.code == 0, result.text
    assert (tmp_path / "run" / "merged" / "pytorch_model.bin").is_file()
    found = torch.load(tmp_path / "run" / "merged" / "pytorch_model.bin")
    assert {t.dtype for t in found.values()} == {dtype}
    assert found["lm_head.weight"].data_ptr() == found["transformer.wte.weight"].data_ptr()


def test_a_model_that_is_no_folder_is_refused(root: Path, tmp_path: Path) -> None:
    torch.save(tiny.pair("mlp")[0], tmp_path / "a.pt")
    words = ("--task", "hf/causal-lm", "-t", f"text={root / 'text.txt'}", "-o", tmp_path / "run")
    refused(llpf("merge", tmp_path / "a.pt", root / "gpt2-b", *words), "merge", "has no config.json", "-t model=FOLDER")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("config.json", ("the configurations differ: ", "n_head (", " 2, ", " 4)", "layer_norm_epsilon (", " 0.5)")),
        ("tokenizer.json", ("the tokenizers differ: 'w3'",)),
    ],
)
def test_folders_that_mean_different_things_are_refused(
    root: Path, file: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    a, b = root / "gpt2-a", hf.folder(tmp_path / "b", "gpt2", 1)
    document = json.loads((b / file).read_text())
    if file == "config.json":
        document |= {"n_head": 4, "layer_norm_epsilon": 0.5, "resid_pdrop": 0.7}
    else:
        names = document["model"]["vocab"]
        names["w3"], names["w4"] = names["w4"], names["w3"]
    (b / file).write_text(json.dumps(document))
    task = ("--task", "hf/causal-lm", "-t", f"text={root / 'text.txt'}")
    model, out = ("--model", f"hf:{a}"), ("-o", tmp_path / "run")
    for command, *more in (
        ("merge", *task), ("compare", *task, "--methods", "linear"), ("align", *model), ("align", *task),
        ("merge", *model, "--method", "linear"), ("merge", *model, "--method", "linear", "--align", "never"),
    ):  # fmt: skip
        refused(llpf(command, a, b, *more, *out), command, *words)
        assert not (tmp_path / "run").exists()
    looked = llpf("check", a, b)
    assert looked.code == 3 and "these cannot be merged" in looked.out
