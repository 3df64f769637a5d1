"""Laws of the order on random modules, checked by perturbing weights and watching what changes."""

from typing import Any

import networkx as nx
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from llpf_plugin.order import LayerOrder, layer_order, phases

SIZE = 4
STEPS = ("new", "new", "norm", "again", "tied", "add", "concat", "view", "write", "inplace", "bare", "dict", "constant")


class Program(nn.Module):
    """Runs a list of steps on a pool of [SIZE, SIZE] tensors; each step names two of them."""

    def __init__(self, steps: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.steps = steps
        self.parts = nn.ModuleDict()
        self.bare = nn.ParameterDict()
        for i, (kind, _, _) in enumerate(steps):
            if kind in ("new", "constant"):
                self.parts[f"p{i}"] = nn.Linear(SIZE, SIZE)
            elif kind == "norm":
                self.parts[f"p{i}"] = nn.LayerNorm(SIZE)
            elif kind == "concat":
                self.parts[f"p{i}"] = nn.Linear(2 * SIZE, SIZE)
            elif kind == "bare":
                self.bare[f"b{i}"] = nn.Parameter(torch.randn(SIZE))

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        pool = [x.clone()]
        # What is used again was called before: a layer's first call is then its first use.
        square: list[nn.Linear] = []
        for i, (kind, left, right) in enumerate(self.steps):
            a, b = pool[left % len(pool)], pool[right % len(pool)]
            if kind in ("new", "norm"):
                pool.append(self.parts[f"p{i}"](a))
                if kind == "new":
                    square.append(self.parts[f"p{i}"])
            elif kind == "again" and square:
                pool.append(torch.tanh(square[right % len(square)](a)))
            elif kind == "tied" and square:
                pool.append(F.linear(a, square[right % len(square)].weight.t()))
            elif kind == "add":
                pool.append(a + b)
            elif kind == "concat":
                pool.append(self.parts[f"p{i}"](torch.cat([a, b], 1)))
            elif kind == "view":
                pool.append(a.t())
            elif kind == "write":
                a[:, :2] = b[:, 2:].clone()
            elif kind == "inplace":
                a.add_(b.clone()).mul_(0.5)
            elif kind == "bare":
                pool.append(a * self.bare[f"b{i}"])
            elif kind == "dict":
                pool.append({"value": [a]}["value"][0])
            elif kind == "constant":
                pool.append(self.parts[f"p{i}"](torch.ones(SIZE, SIZE, dtype=x.dtype)))
        return {"pool": pool}


def programs() -> st.SearchStrategy[list[tuple[str, int, int]]]:
    step = st.tuples(st.sampled_from(STEPS), st.integers(0, 11), st.integers(0, 11))
    return st.lists(step, max_size=14).map(lambda steps: [("new", 0, 0), *steps])


def first_outputs(model: Program, x: Tensor) -> dict[str, Tensor]:
    """Run the model and keep what each part gave when it was first called."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, args: Any, result: Tensor) -> None:
            outputs.setdefault(name, result.clone())  # a hook that returned it would replace the output

        return hook

    hooks = [part.register_forward_hook(keep(f"parts.{name}")) for name, part in model.parts.items()]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return outputs


def changed_by(model: Program, order: LayerOrder, layer: str, x: Tensor, before: dict[str, Tensor]) -> set[str]:
    """Perturb a layer; return the layers whose parts' first outputs changed."""
    parameters = dict(model.named_parameters())
    names = order[layer].parameters
    saved = {name: parameters[name].detach().clone() for name in names}
    with torch.no_grad():
        for name in names:
            parameters[name].add_(torch.randn_like(parameters[name]))
        after = first_outputs(model, x)
        for name in names:
            parameters[name].copy_(saved[name])
    leader = {part: other.name for other in order.layers for part in (other.name, *other.attached)}
    return {leader[part] for part, value in before.items() if not torch.equal(value, after[part])}


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs(), st.sampled_from(["fdf", "levels"]))
def test_what_a_layer_changes_stands_behind_it(steps: list[tuple[str, int, int]], kind: Any) -> None:
    torch.manual_seed(0)
    model = Program(steps).double()
    x = torch.randn(SIZE, SIZE, dtype=torch.float64)
    order = layer_order(model, x, order=kind)
    names = [layer.name for layer in order.layers]
    before = first_outputs(model, x)
    for i, name in enumerate(names):
        changed = changed_by(model, order, name, x, before) - {name}
        assert changed <= set(names[i + 1 :]), f"{name} changes what stands before it"
        assert changed <= nx.descendants(order.dag, name), f"{name} changes what no edge leads to"


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs())
def test_the_order_is_topological_and_complete(steps: list[tuple[str, int, int]]) -> None:
    model = Program(steps)
    order = layer_order(model, torch.ones(SIZE, SIZE))
    place = {layer.name: i for i, layer in enumerate(order.layers)}
    assert all(place[a] < place[b] for a, b in order.dag.edges)
    assert sorted(p for layer in order.layers for p in layer.parameters) == sorted(
        n for n, _ in model.named_parameters()
    )
    assert LayerOrder.from_json(order.to_json()).fingerprint == order.fingerprint
    reduced = nx.transitive_reduction(order.dag)
    assert all(set(layer.after) == set(reduced.predecessors(layer.name)) for layer in order.layers)
    for mode in ("layer", "block", "stage", "all"):
        assert [name for phase in phases(order, mode) for name in phase.layers] == list(place)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs())
def test_parallel_labels_say_what_the_graph_says(steps: list[tuple[str, int, int]]) -> None:
    order = layer_order(Program(steps), torch.ones(SIZE, SIZE))
    closure = nx.transitive_closure_dag(order.dag)
    layers = [layer for layer in order.layers if layer.calls]
    for i, a in enumerate(layers):
        for b in layers[i + 1 :]:
            side_by_side = _side_by_side(a.parallel or "", b.parallel or "")
            if side_by_side is not None:
                assert side_by_side != closure.has_edge(a.name, b.name)


def _side_by_side(a: str, b: str) -> bool | None:
    """Compare two labels: different branches of one region; None where the label does not tell."""
    for x, y in zip(a.split("/"), b.split("/"), strict=False):
        if "~" in x and "~" in y and x.split("~")[0] == y.split("~")[0]:
            return True if x == y else None
        if x != y:
            return "." in x and "." in y and x.split(".")[0] == y.split(".")[0]
    return False if a == b else None
