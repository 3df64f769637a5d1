"""`LLPFAlgorithm` and pools of networks, with the real fusion_bench: in this process, and by its own command."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fusion_bench", reason="the adapter needs fusion_bench: pip install 'llpf-plugin[fusion-bench]'")

import torch
import transformers
import yaml
from fusion_bench import BaseAlgorithm
from fusion_bench.modelpool import BaseModelPool, CausalLMPool
from helpers import hugging_face, tiny
from omegaconf import OmegaConf
from torch import nn

import llpf_fusion_bench
from llpf_fusion_bench import LLPFAlgorithm, network
from llpf_plugin import Compute, merge, version
from llpf_plugin.errors import LLPFError, MismatchError, SpecificationError, TaskError

TASK = {name: f"{tiny.__file__}:{name}" for name in ("mlp", "conv")}
SEARCH = {"max_loss": 0.2, "points": 1}


def model(name: str, seed: int) -> nn.Module:
    made = tiny.TASKS[name]().model
    made.load_state_dict(tiny.trained(name, seed))
    return made


def pool(name: str, seeds: str = "12") -> BaseModelPool:
    return BaseModelPool({f"seed{seed}": model(name, int(seed)) for seed in seeds})


@pytest.mark.parametrize(("name", "seeds"), [("mlp", "12"), ("conv", "12"), ("mlp", "123")])
def test_a_pool_is_merged_as_models_are_anywhere(name: str, seeds: str) -> None:
    models = pool(name, seeds)
    before = {k: {n: t.clone() for n, t in m.state_dict().items()} for k, m in models.named_models()}
    result = LLPFAlgorithm(task=TASK[name], search=SEARCH, device="cpu").run(models)
    wanted = merge(list(before.values()), TASK[name], compute=Compute("cpu"), **SEARCH)  # type: ignore[arg-type]
    assert type(result) is type(model(name, 1)) and wanted.connected
    assert all(torch.equal(t, wanted.weights[k].to(t.dtype)) for k, t in result.state_dict().items())
    assert all(tiny.same(dict(m.state_dict()), before[k]) for k, m in models.named_models()), "the pool stays as it is"


def test_its_settings_are_those_of_the_yaml_and_special_models_take_no_part(tmp_path: Path) -> None:
    settings = {"task": TASK["mlp"], "search": SEARCH, "path_method": "sphere-curve"}
    settings |= {
        "path_method_arguments": {"steps": 5},
        "pick": "mid",
        "align": "never",
        "device": "cpu",
        "out": str(tmp_path / "run"),
    }
    place = tmp_path / "llpf.yaml"
    place.write_text(yaml.safe_dump({"_target_": "llpf_fusion_bench.LLPFAlgorithm", **settings}))
    algorithm = BaseAlgorithm.from_yaml(place)
    assert isinstance(algorithm, LLPFAlgorithm)
    models = pool("mlp")
    models.add_model("_pretrained_", nn.Linear(2, 2))
    result = algorithm.run(models)
    asked = OmegaConf.load(tmp_path / "run" / "run.json").asked
    assert (asked.task, asked.method, asked.method_settings.steps) == (TASK["mlp"], "sphere-curve", 5)
    assert asked.search.max_loss == 0.2 and asked.align == "never"
    picked = network(TASK["mlp"], str(tmp_path / "run" / "merged.safetensors"))
    assert tiny.same(dict(picked.state_dict()), dict(result.state_dict()))
    algorithm.to_yaml(tmp_path / "again.yaml")
    assert BaseAlgorithm.from_yaml(tmp_path / "again.yaml").search == SEARCH
    with pytest.raises(LLPFError, match="run"):  # nothing is overwritten
        algorithm.run(models)


def test_a_network_of_a_pool_is_that_of_a_checkpoint(tmp_path: Path) -> None:
    weights = tiny.trained("mlp", 1)
    torch.save({"state_dict": {f"module.{k}": t for k, t in weights.items()}}, tmp_path / "a.ckpt")
    made = network(TASK["mlp"], str(tmp_path / "a.ckpt"))
    assert tiny.same(dict(made.state_dict()), weights) and not made.training
    with pytest.raises(MismatchError, match=r"a\.ckpt"):
        network(TASK["conv"], str(tmp_path / "a.ckpt"))


def test_causal_language_models_are_merged_and_saved_by_their_pool(tmp_path: Path) -> None:
    text = str(hugging_face.corpus(tmp_path / "corpus.txt"))
    a, b = (str(hugging_face.folder(tmp_path / name, "gpt2", seed)) for seed, name in enumerate("ab", start=1))
    models = CausalLMPool({"a": a, "b": b}, tokenizer=a)
    algorithm = LLPFAlgorithm(
        task="hf/causal-lm",
        task_arguments={"model": a, "text": text, "length": 16},
        search={"budget": 20},
        device="cpu",
    )
    models.save_model(algorithm.run(models), str(tmp_path / "merged"), save_tokenizer=True)
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert merged(torch.arange(8)[None]).logits.isfinite().all()
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")) == len(hugging_face.VOCABULARY)
    lazy = CausalLMPool({"a": a, "b": b}, tokenizer=a, enable_lazy_loading=True)
    with pytest.raises(MismatchError, match="a is a LazyStateDict, not a module: set enable_lazy_loading: false"):
        algorithm.run(lazy)


@pytest.mark.parametrize(
    ("settings", "refused", "message"),
    [
        ({"serch": {}}, SpecificationError, "LLPFAlgorithm has no setting 'serch': did you mean search"),
        ({"search": {"max_los": 1}}, SpecificationError, "no setting of search 'max_los': did you mean max_loss"),
        ({"search": {"budget": 0}}, LLPFError, "budget = 0: it must be above 0"),
        ({"task": "digits/nlp"}, TaskError, "no built-in task 'digits/nlp'"),
        ({"task": TASK["conv"]}, MismatchError, "seed1"),
        ({"path_method": "lpf"}, LLPFError, "there is no method 'lpf'"),
        ({"path_method_arguments": {"phase": 1}}, LLPFError, "has no setting 'phase'"),
        ({"pick": "worst"}, LLPFError, "worst"),
        ({"align": "sometimes"}, LLPFError, "align = 'sometimes': it must be one of auto, never, always"),
        ({"device": "abacus"}, LLPFError, "the device 'abacus' cannot be used here"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_nothing_is_written(
    settings: dict[str, Any], refused: type[LLPFError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(refused, match=message):
        LLPFAlgorithm(**{"task": TASK["mlp"], "device": "cpu", "out": str(tmp_path / "run"), **settings}).run(
            pool("mlp")
        )
    assert not any(tmp_path.iterdir())


def test_a_pool_of_one_has_nothing_to_merge() -> None:
    with pytest.raises(LLPFError, match="a merge needs at least two models"):
        LLPFAlgorithm(task=TASK["mlp"], device="cpu").run(pool("mlp", "1"))


def test_its_own_command_runs_the_yaml(tmp_path: Path) -> None:
    for seed in (1, 2):
        torch.save(tiny.trained("mlp", seed), tmp_path / f"{seed}.pt")
    member = {"_target_": "llpf_fusion_bench.network", "task": TASK["mlp"]}
    pooled = {"_target_": "fusion_bench.modelpool.BaseModelPool", "_recursive_": False}
    pooled["models"] = {name: {**member, "checkpoint": f"{i}.pt"} for i, name in enumerate("ab", start=1)}
    for kind, name, document in (
        ("modelpool", "pair", pooled),
        ("method", "llpf", {"_target_": "llpf_fusion_bench.LLPFAlgorithm", "task": TASK["mlp"], "search": SEARCH}),
    ):
        (tmp_path / "conf" / kind).mkdir(parents=True)
        (tmp_path / "conf" / kind / f"{name}.yaml").write_text(yaml.safe_dump(document))
    words = ["--config-dir", "conf", "method=llpf", "modelpool=pair", "merged_model_save_path=merged.pt"]
    words += ["+method.device=cpu", "+method.out=run"]
    done = subprocess.run(
        [sys.executable, "-m", "fusion_bench.scripts.cli", *words], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a and b: low loss: training loss is at most" in done.stdout + done.stderr
    merged = network(TASK["mlp"], str(tmp_path / "merged.pt"))
    assert tiny.same(
        dict(merged.state_dict()), dict(network(TASK["mlp"], str(tmp_path / "run/merged.safetensors")).state_dict())
    )


def test_an_earlier_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version.metadata, "version", lambda name: "0.2.32")
    with pytest.raises(SpecificationError, match=r"fusion-bench 0\.2\.32 is not one of the versions >=0\.2\.33,<0\.3"):
        getattr(llpf_fusion_bench, "LLPFAlgorithm")  # noqa: B009 - the name is looked up, not used
