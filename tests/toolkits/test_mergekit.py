"""``llpf_sphere`` and ``llpf-mergekit-yaml``, with the real mergekit, on tiny folders of transformers."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mergekit", reason="the adapter needs mergekit: pip install 'llpf-plugin[mergekit]'")

import torch
import transformers
import yaml
from helpers import hugging_face, remote_code
from helpers.commands import Result
from helpers.run_folders import contents
from mergekit.merge_methods import merge_state_dicts
from torch import Tensor

from llpf_mergekit import VERSIONS, register
from llpf_mergekit.app import run
from llpf_plugin import version
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry import variance
from llpf_plugin.merging import mean_on_spheres

KINDS = ("gpt2", "llama")
Command = Callable[..., Result]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of two seeds, and ``NAME-moved``, which computes what ``NAME-a`` does with its units in another order."""
    folder = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        for seed, name in enumerate("ab", start=1):
            hugging_face.folder(folder / f"{kind}-{name}", kind, seed)
        moved = hugging_face.network(kind, 1)
        moved.load_state_dict(shuffled(moved.state_dict()))
        moved.save_pretrained(folder / f"{kind}-moved")
    return folder


def shuffled(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The residual stream, the hidden units of the MLPs and the two heads in another order: the same function."""
    rng = torch.Generator().manual_seed(7)
    stream, heads = torch.randperm(16, generator=rng), torch.arange(16).roll(8)
    hidden = {size: torch.randperm(size, generator=rng) for size in (24, 64)}
    found = {}
    for name, tensor in weights.items():
        for axis, size in enumerate(tensor.shape):
            if size == 48:  # GPT-2's queries, keys and values
                order = torch.cat([heads, heads + 16, heads + 32])
            elif size == 16:
                order = heads if axis == head_axis(name) else stream
            else:
                order = hidden.get(size, torch.arange(size))
            tensor = tensor.index_select(axis, order)
        found[name] = tensor
    return found


def head_axis(name: str) -> int | None:
    """The axis of a matrix of attention that is not the stream's; Llama's are ``[out, in]``, GPT-2's ``[in, out]``."""
    if ".o_proj." in name:
        return 1
    return 0 if ".q_proj." in name or ".attn.c_proj.weight" in name else None


@pytest.fixture
def command(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Command:
    """``llpf-mergekit-yaml recipe.yml out`` in this process, in a folder where ``models`` lies."""
    (tmp_path / "models").symlink_to(models)
    monkeypatch.chdir(tmp_path)

    def called(recipe: object, *words: str) -> Result:
        Path("recipe.yml").write_text(recipe if isinstance(recipe, str) else yaml.safe_dump(recipe))
        monkeypatch.setattr(sys, "argv", ["llpf-mergekit-yaml", "recipe.yml", "out", "--quiet", *words])
        with pytest.raises(SystemExit) as stop:
            run()
        return Result(int(stop.value.code or 0), *capfd.readouterr())

    return called


def recipe(method: str, *names: str, **more: object) -> dict[str, object]:
    return {"merge_method": method, "models": [{"model": f"models/{name}"} for name in names], **more}


def loaded(place: Path | str) -> Any:
    model, told = transformers.AutoModelForCausalLM.from_pretrained(place, output_loading_info=True)
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
    return model.eval()


@torch.no_grad()
def answers(model: Any) -> Tensor:
    found: Tensor = model(torch.arange(20).reshape(2, 10)).logits
    return found


def difference(one: Any, other: Any) -> float:
    """The largest difference of outputs over the largest output."""
    x, y = answers(one), answers(other)
    return float((x - y).abs().max() / y.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_on_the_spheres_is_ours(kind: str, command: Command) -> None:
    made = recipe("llpf_sphere", f"{kind}-a", f"{kind}-b")
    made["models"][1]["parameters"] = {"weight": 3}  # type: ignore[index]
    result = command(made)
    assert result.code == 0, result.text
    merged, a, b = (loaded(place) for place in ("out", f"models/{kind}-a", f"models/{kind}-b"))
    wanted = mean_on_spheres([a.state_dict(), b.state_dict()], [0.25, 0.75], a)
    assert all(torch.equal(t, wanted[name].to(t.dtype)) for name, t in merged.state_dict().items())
    name = next(k for k, t in a.state_dict().items() if t.dim() == 2 and float(t.std()) > 0)
    between = 0.25 * variance(a.state_dict()[name]) + 0.75 * variance(b.state_dict()[name])
    assert variance(merged.state_dict()[name]) == pytest.approx(between, rel=1e-5)


def test_code_of_a_folder_is_run_only_where_mergekit_is_told_so(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote_code.MARK, str(tmp_path / "ran"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    for seed, name in enumerate("ab"):
        remote_code.folder(tmp_path / name, seed)
    made = {"merge_method": "llpf_aligned", "base_model": "a", "models": [{"model": "a"}, {"model": "b"}]}
    result = command(made)
    assert result.code == 1 and len(result.err.splitlines()) == 1 and "--trust-remote-code" in result.err, result.text
    assert not remote_code.ran() and not Path("out").exists()
    result = command(made, "--trust-remote-code")
    assert result.code == 0 and remote_code.ran() and "b aligned to a: 16 units in 2 groups" in result.out, result.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_whose_units_changed_places_is_merged_to_what_it_computes(kind: str, command: Command) -> None:
    a, moved = loaded(f"models/{kind}-a"), loaded(f"models/{kind}-moved")
    assert difference(moved, a) < 1e-5, "the test's own shuffling"
    made = recipe("llpf_aligned", f"{kind}-a", f"{kind}-moved", base_model=f"models/{kind}-a")
    result = command(made)
    assert result.code == 0, result.text
    assert f"models/{kind}-moved aligned to models/{kind}-a: " in result.out and "the same function" in result.out
    assert difference(loaded("out"), a) < 1e-5
    assert command({**made, "merge_method": "llpf_sphere"}, "--no-quiet").code == 1, "nothing is overwritten"
    Path("out").rename("aligned")
    assert command({**made, "merge_method": "llpf_aligned_slerp", "parameters": {"t": 0.5}}).code == 0
    assert difference(loaded("out"), a) < 1e-5
    Path("out").rename("slerp")
    assert command({**made, "merge_method": "llpf_sphere"}).code == 0
    assert difference(loaded("out"), a) > 0.1, "without alignment it is another function"


def test_cards_have_the_recipe_and_the_names_that_the_user_gave(command: Command, tmp_path: Path) -> None:
    made = recipe("llpf_aligned", "gpt2-b", "gpt2-a", base_model="models/gpt2-a", dtype="bfloat16")
    text = "# mine\n" + yaml.safe_dump(made)
    assert command(text).code == 0
    card = Path("out/README.md").read_text()
    assert Path("out/mergekit_config.yml").read_text() == text and text in card
    assert card.count("# out\n") == 1 and "* models/gpt2-b\n" in card and str(tmp_path) not in card
    assert loaded("out").dtype == torch.bfloat16
    assert sorted(place.name for place in Path().iterdir()) == ["models", "out", "recipe.yml"]


def test_other_methods_are_mergekits_and_models_stay_as_they_are(command: Command, models: Path) -> None:
    before = contents(models)
    assert command(recipe("linear", "llama-a", "llama-b", parameters={"weight": 1})).code == 0
    assert command(recipe("llpf_aligned", "llama-b", base_model="models/llama-a")).code == 1, "out is there"
    Path("out").rename("linear")
    assert command(recipe("llpf_aligned", "llama-b", base_model="models/llama-a")).code == 0
    assert contents(models) == before


ALIGNED = recipe("llpf_aligned", "gpt2-b", base_model="models/gpt2-a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "recipe.yml is not YAML: line 1"),
        ("hello", "recipe.yml is not a recipe of mergekit"),
        (
            "merge_method: llpf_sphere",
            "recipe.yml failed: RuntimeError: Exactly one of 'models', 'slices', or 'modules'",
        ),
        ("models: [{model: models/gpt2-a}]", "recipe.yml: merge_method: field required"),
        (recipe("llpf_spher", "gpt2-a"), "there is no merge method 'llpf_spher': did you mean llpf_sphere"),
        (recipe("llpf_aligned_linea", "gpt2-a"), "'llpf_aligned_linea': did you mean llpf_aligned_linear"),
        ({**ALIGNED, "base_model": None}, "recipe.yml: llpf_aligned needs base_model"),
        ({**ALIGNED, "base_model": "models/gpt2-b"}, "recipe.yml: models names none but the base"),
        ({**ALIGNED, "base_model": "models/llama-a"}, "the configurations differ: "),
        ({**ALIGNED, "models": [{"model": "models/gpt2-b+models/lora"}]}, "models/gpt2-b+models/lora is an adapter"),
        (
            {**ALIGNED, "models": None, "slices": [{"sources": [{"model": "models/gpt2-b", "layer_range": [0, 1]}]}]},
            "recipe.yml: llpf_aligned merges whole models",
        ),
        ({**ALIGNED, "base_model": "models"}, "models has no config.json"),
        (
            recipe("llpf_sphere", "gpt2-a", "gpt2-b", parameters={"weight": -1}),
            "weights must be 0 or more, and not all 0",
        ),
        (recipe("llpf_sphere", "gpt2-a", "gpt2-b", parameters={"weight": "much"}), "mergekit failed: ValidationError"),
        (recipe("llpf_sphere", "gpt2-a", "llama-a"), "mergekit failed: "),
    ],
)
def test_what_cannot_be_merged_is_refused_and_nothing_is_written(text: object, message: str, command: Command) -> None:
    result = command(text)
    assert result.code == 1 and not result.traceback, result.text
    assert "llpf-mergekit-yaml: " in result.err and message in result.err
    assert sorted(place.name for place in Path().iterdir()) == ["models", "recipe.yml"]


def test_a_wrong_command_line_is_told_by_mergekit(command: Command, capfd: Any) -> None:
    result = command(recipe("llpf_sphere", "gpt2-a"), "--such-an-option")
    assert result.code == 2 and "No such option" in result.err and not Path("out").exists()
    shown = command(recipe("llpf_sphere", "gpt2-a"), "--help")
    assert shown.code == 0 and "Usage: llpf-mergekit-yaml [OPTIONS] CONFIG_FILE OUT_PATH" in shown.out


def test_an_earlier_version_is_refused_before_anything_is_done(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version.metadata, "version", lambda name: "0.1.4")
    result = command(recipe("llpf_sphere", "gpt2-a", "gpt2-b"))
    assert result.code == 1 and f"mergekit 0.1.4 is not one of the versions {VERSIONS}" in result.err
    assert not Path("out").exists()


def test_in_memory_it_is_a_method_like_mergekits_own() -> None:
    register()
    register()  # again is the same
    rng = torch.Generator().manual_seed(0)
    a, b = ({"w": torch.randn(8, 8, generator=rng), "b": torch.randn(8, generator=rng)} for _ in range(2))
    merged = merge_state_dicts([a, b], "llpf_sphere")
    assert variance(merged["w"]) == pytest.approx((variance(a["w"]) + variance(b["w"])) / 2, rel=1e-5)
    assert torch.allclose(merged["b"], (a["b"] + b["b"]) / 2)
    assert all(torch.equal(merge_state_dicts([a, a, a], "llpf_sphere")[name], a[name]) for name in a)
    with pytest.raises(LLPFError, match=r"not all 0: 0\.0, 0\.0"):
        merge_state_dicts([a, b], "llpf_sphere", parameters={"weight": [0, 0]})
