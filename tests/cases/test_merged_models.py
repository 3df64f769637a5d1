"""The merged model is what it is said to be, and what happens to parts that the data say nothing about is said."""

import json
from pathlib import Path
from typing import Any

import torch
from helpers import tiny
from helpers.commands import Result, merge, method
from torch import Tensor, nn

from llpf_plugin import Task, TensorData
from llpf_plugin.checkpoint import read

X = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))


def squared_error(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


def run(folder: Path, ends: list[Any], task: str, *words: object) -> Result:
    for name, weights in zip("ab", ends, strict=True):
        torch.save(weights, folder / f"{name}.pt")
    return merge(
        folder / "a.pt", folder / "b.pt", "--task", task, "-o", folder / "run", "--points", 2, "--no-report", *words
    )


def test_the_result_of_finetuning_is_the_finetuned_model(tmp_path: Path) -> None:
    a, b = tiny.pair("mlp")
    result = run(tmp_path, [a, b], f"{tiny.__file__}:mlp", "--tolerance", 0.3, *method("finetune", steps=60))
    assert result.code in (0, 3), result.text
    merged = read(tmp_path / "run" / "merged.pt").weights
    way, gone = (torch.cat([(w[k] - a[k]).flatten() for k in a]) for w in (b, merged))
    share = float(gone @ way / way.square().sum())
    assert float(gone.norm()) > 0 and abs(share) < 0.05, f"{share:.0%} of the way to B"
    scores = json.loads((tmp_path / "run" / "quality.json").read_text())["merged"]["scores"]
    assert scores["train"]["loss"] < 0.02


class TwoHeads(nn.Module):
    """A network with a second head, which this task's data never reach."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.unused_head = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(x)))


def two_heads() -> Task:
    return Task(TwoHeads(), TensorData(X, X[:, :1]), objective=squared_error)


def fresh(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return TwoHeads().state_dict()


def test_layers_that_the_data_never_reach_stay_those_of_a(tmp_path: Path) -> None:
    ends = [fresh(0), fresh(1)]
    result = run(tmp_path, ends, f"{__file__}:two_heads", "--tolerance", 5, "--pick", "mid", *method("linear"))
    assert result.code == 0, result.text
    merged = read(tmp_path / "run" / "merged.pt").weights
    assert torch.equal(merged["unused_head.weight"], ends[0]["unused_head.weight"])
    assert not torch.equal(merged["head.weight"], ends[0]["head.weight"])


def test_layers_that_the_data_never_reach_are_named(tmp_path: Path) -> None:
    result = run(tmp_path, [fresh(0), fresh(1)], f"{__file__}:two_heads", "--tolerance", 5, *method("linear"))
    assert "unused_head" in result.text


class Unscaled(nn.Module):
    """A regression whose output is brought to the targets' scale in evaluation mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if self.training else 100 * self.linear(x)


def unscaled() -> Task:
    return Task(Unscaled(), TensorData(X, 100 * X[:, :1]), objective=squared_error)


def test_a_model_that_computes_otherwise_in_training_mode_is_noticed(tmp_path: Path) -> None:
    ends = [{"linear.weight": torch.tensor([[1.0, e, 0, 0]]), "linear.bias": torch.tensor([e])} for e in (0.02, -0.02)]
    result = run(tmp_path, ends, f"{__file__}:unscaled", "--tolerance", 2, "--budget", 20)
    assert not result.traceback and "training mode" in result.text, result.text


class Rescaled(nn.Module):
    """A linear model with a float buffer that differs between the ends."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.register_buffer("target_scale", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.target_scale


def rescaled() -> Task:
    return Task(Rescaled(), TensorData(X, X[:, :1]), objective=squared_error)


def test_what_becomes_of_float_buffers_is_said(tmp_path: Path) -> None:
    ends = [
        {"linear.weight": torch.tensor([[w, 0.1, 0, 0]]), "linear.bias": torch.zeros(1), "target_scale": 1 / w}
        for w in (torch.ones(1), torch.full((1,), 0.5))
    ]
    result = run(tmp_path, ends, f"{__file__}:rescaled", "--tolerance", 5, *method("linear"))
    assert result.code == 0 and result.text.count("target_scale") == 1, result.text


class Untied(nn.Module):
    """Three layers, of which the files tie the first two where the model does not."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        if tied:
            self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.b(torch.relu(self.a(x)))))


def untied() -> Task:
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    return Task(Untied(), TensorData(x, (x[:, 0] * x[:, 1] > 0).long()))


def test_names_that_only_the_files_tie_are_known_before_the_walk(tmp_path: Path) -> None:
    """The model can hold what the files hold: it is merged; or it is refused at once, and no run is left behind."""
    ends = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        ends.append(Untied(tied=True).state_dict())
    result = run(tmp_path, ends, f"{__file__}:untied", "--tolerance", 0.3, "--budget", 40)
    if result.code == 1:
        assert "tied" in result.err and not (tmp_path / "run").exists(), result.text
    else:
        assert result.code in (0, 3) and (tmp_path / "run" / "merged.pt").is_file(), result.text
