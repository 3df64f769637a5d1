"""Folders of transformers that bring code: refused in one sentence, run where the user says ``--trust``."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers import hugging_face as hf
from helpers import remote_code
from helpers.commands import llpf, method, process
from helpers.hub import serving
from helpers.refusals import USAGE, refused
from helpers.remote_code import MARK, ran

from llpf_plugin import load_task
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.hugging_face import trusting

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SENTENCE = "names code of its own (auto_map), which is not run unless you trust it, since it could do whatever you"
QUICK = ("--tolerance", 9, "--points", 1, "--no-report", *method("linear"), "--align", "never")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders with code, whose copies transformers keeps here too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(MARK, str(tmp_path / "ran"))
    cache = tmp_path / "modules"
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(cache))
    monkeypatch.setattr(sys, "path", [*sys.path])
    for seed, name in enumerate("ab"):
        remote_code.folder(tmp_path / name, seed)
    hf.corpus(tmp_path / "text.txt", 2000)
    return tmp_path


def asked(command: str = "merge", *more: object) -> list[Any]:
    return [command, "a", "b", "--task", "hf/causal-lm", "-t", "text=text.txt", "-t", "length=16", *more]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("merge", (*asked()[1:], *QUICK, "-o", "run")),
        ("compare", (*asked()[1:], "--methods", "linear", "-o", "run")),
        ("origin", ("a", *asked()[3:], "-o", "run")),
        ("rebn", ("a", *asked()[3:], "-o", "run")),
        ("check", ("a", "b", "--model", "hf:a", "--align")),
        ("align", ("a", "b", "--model", "hf:a", "-o", "run")),
        ("merge", ("a", "b", "--model", "hf:a", "--method", "linear", "-o", "run")),
        ("order", ("hf:a",)),
    ],
)
def test_no_command_runs_a_folders_code_by_itself(command: str, words: tuple[object, ...]) -> None:
    refused(llpf(command, *words), command, SENTENCE, "add --trust")
    assert not ran() and not Path("run").exists() and not Path("modules").exists()


def test_what_is_trusted_is_merged_and_loads_where_it_came_from() -> None:
    result = llpf(*asked(), *QUICK, "--pick", 0.25, "--trust", "-o", "run")
    assert result.code in (0, 3) and not result.traceback and ran(), result.text
    a, b, merged = (
        transformers.AutoModelForCausalLM.from_pretrained(place, trust_remote_code=True).state_dict()
        for place in ("a", "b", "run/merged")
    )
    assert all(torch.allclose(t, 0.75 * a[k] + 0.25 * b[k], atol=1e-6) for k, t in merged.items())
    assert len(transformers.AutoTokenizer.from_pretrained("run/merged", trust_remote_code=True)) == len(hf.VOCABULARY)


def test_a_finished_run_and_its_configuration_are_data_still() -> None:
    assert llpf(*asked(), *QUICK, "--trust", "-o", "run").code in (0, 3)
    assert "trust" not in yaml.safe_load(Path("run/config.yaml").read_text())
    assert "trust" not in json.dumps(json.loads(Path("run/run.json").read_text())["asked"])
    ran()
    measured = ("report", "run", "--metrics", "none", "--figures", "none", "--device", "cpu")
    refused(llpf(*measured), "report", SENTENCE)
    refused(llpf("--config", "run/config.yaml", "-o", "again"), "merge", SENTENCE)
    assert not ran()
    for key in ("trust", "trust_remote_code"):
        argument = llpf(*asked(), *QUICK, "-t", f"{key}=true", "-o", "again")
        refused(argument, "merge", f"takes no argument '{key}'")
        Path("file.yaml").write_text(yaml.safe_dump({"command": "merge", "models": ["a", "b"], key: True}))
        refused(llpf("--config", "file.yaml"), "", "has no option", code=USAGE)
    assert not ran() and not Path("again").exists()
    assert llpf(*measured, "--trust").code in (0, 3) and llpf("point", "run", "--at", 0.5, "-o", "point").code == 0
    assert llpf("--config", "run/config.yaml", "--trust", "-o", "again").code in (0, 3)


def test_models_without_data_are_trusted_likewise() -> None:
    shown = llpf("order", "hf:a", "--trust", "-f", "tree")
    assert shown.code == 0 and "embed" in shown.out and ran(), shown.text
    assert llpf("align", "a", "b", "--model", "hf:a", "--trust", "-o", "moved").code == 0
    assert llpf("check", "a", "moved", "--task", "hf/causal-lm", "-t", "text=text.txt", "--trust").code == 0
    assert (Path("moved") / "modeling_own.py").is_file()


def test_a_tokenizer_can_want_code_too() -> None:
    plain = hf.folder(Path("plain"), "llama", 0)
    file = plain / "tokenizer_config.json"
    told = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    file.write_text(json.dumps({**json.loads(file.read_text()), **told}))
    (plain / "own.py").write_text(
        remote_code.CONFIGURATION + "from transformers import PreTrainedTokenizerFast\n"
        "class OwnTokenizer(PreTrainedTokenizerFast): pass\n"
    )
    words = ("hf/causal-lm", {"model": "plain", "text": "text.txt", "length": 16})
    with pytest.raises(TaskError, match="the tokenizer of plain names code of its own"):
        load_task(*words)
    assert not ran()
    with trusting():
        assert load_task(*words).model is not None
    assert ran()


@pytest.mark.slow
def test_code_of_the_hub_is_fetched_only_where_it_is_trusted(here: Path) -> None:
    with serving("someone/own", here / "a") as hub:
        own = {"HF_ENDPOINT": hub.address, "HF_HOME": str(here / "cache"), "HF_HUB_OFFLINE": "0"}
        env = {**own, "HF_HUB_DISABLE_XET": "1", MARK: str(here / "ran")}
        words = ["merge", "hf://someone/own", "b", *asked()[3:], *QUICK, "-o", "run"]
        stopped = process("llpf", *words, env=env, timeout=120)
        assert stopped.code == 1 and not stopped.traceback and SENTENCE in stopped.err.splitlines()[-1], stopped.text
        assert "config.json" in hub.asked and not [file for file in hub.asked if file.endswith(".py")] and not ran()
        result = process("llpf", *words, "--trust", env=env, timeout=120)
        assert result.code in (0, 3) and not result.traceback, result.text
        assert "modeling_own.py" in hub.asked and ran() and (here / "run/merged/modeling_own.py").is_file()
