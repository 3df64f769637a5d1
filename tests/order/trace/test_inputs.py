"""Example inputs of every kind: carried whole, seen into, mapped with their types, and given to order and symmetry."""

import threading
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from helpers.orders import names
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from llpf_plugin.alignment import symmetry
from llpf_plugin.errors import OrderError
from llpf_plugin.order import Inputs, layer_order

ROW = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@dataclass
class Graph:
    """A batch as chemistry has them: tensors, a count, and another such batch inside."""

    nodes: Tensor
    weights: Tensor
    count: int = 2
    inner: "Graph | None" = None


@dataclass(frozen=True, slots=True)
class Frozen:
    values: Tensor
    name: str = "frozen"


@dataclass(repr=False, eq=False, slots=True)
class Built:
    """No field is an argument: what it holds is made from what it is given, as chemprop's ``BatchMolGraph``."""

    parts: InitVar[list[Tensor]]
    V: Tensor = field(init=False)
    missing: Tensor = field(init=False)
    __size: int = field(init=False)

    def __post_init__(self, parts: list[Tensor]) -> None:
        self.V, self.__size = torch.cat(parts), len(parts)

    def __len__(self) -> int:
        return self.__size


@dataclass
class Annotated:
    values: Tensor

    def __post_init__(self) -> None:
        self.note = self.values.sum(1)  # no field


class Pair(NamedTuple):
    first: Tensor
    second: Any


class Encoding(UserDict):  # type: ignore[type-arg]
    """As transformers' ``BatchEncoding``: a mapping with attributes of its own, whose entries are attributes too."""

    def __init__(self, data: dict[str, Any], origin: str = "") -> None:
        super().__init__(data)
        self.origin = origin

    def __getattr__(self, name: str) -> Any:
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None


class Items(list):  # type: ignore[type-arg]
    pass


class Sealed(Mapping):  # type: ignore[type-arg]
    """A mapping that cannot be written to."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = dict(content)

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Any:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


Point = namedtuple("Point", "x y")
A, B, C = (torch.full((2, 4), float(i)) for i in (1, 2, 3))

CONTAINERS = {
    "tuple": ((A, (B, 16_000)), [A, B]),
    "list": ([A, [B], "text"], [A, B]),
    "own list": (Items([A, 3, B]), [A, B]),
    "dict": ({"a": A, "inner": {"b": B}, "rate": 0.5}, [A, B]),
    "ordered": (OrderedDict(b=B, a=A), [B, A]),
    "named tuple": (Pair(A, Point(B, 1)), [A, B]),
    "user dict": (Encoding({"ids": A, "mask": [B]}, "tokenizer"), [A, B]),
    "sealed": (Sealed({"a": A, "n": 1}), [A]),
    "proxy": (MappingProxyType({"a": A, "b": (B,)}), [A, B]),
    "dataclass": (Graph(A, B, inner=Graph(C, A)), [A, B, C, A]),
    "frozen": (Frozen(A), [A]),
    "built": (Built([A, B]), [torch.cat([A, B])]),
    "annotated": (Annotated(A), [A, A.sum(1)]),
    "all of it": ({"batch": Pair(Encoding({"g": Graph(A, B)}), [Frozen(C)])}, [A, B, C]),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_tensor_is_seen_and_mapped_and_types_are_kept(kind: str) -> None:
    value, inside = CONTAINERS[kind]
    inputs = Inputs((value, 16_000), {"scale": 2, "again": value})
    seen = inputs.tensors()
    assert len(seen) == 2 * len(inside) and all(map(torch.equal, seen, 2 * inside))
    doubled = inputs.map(lambda tensor: tensor * 2)
    assert type(doubled.args[0]) is type(value) and doubled.args[1] == 16_000 and doubled.kwargs["scale"] == 2
    assert all(torch.equal(new, 2 * old) for new, old in zip(doubled.tensors(), seen, strict=True))
    assert all(new is old for new, old in zip(inputs.tensors(), seen, strict=True))  # the originals stay
    assert all(new is old for new, old in zip(inputs.map(lambda tensor: tensor).tensors(), seen, strict=True))
    assert "float32[" in str(inputs) and "16000" in str(inputs)


def test_what_is_no_tensor_comes_along() -> None:
    doubled = Inputs((Built([A, B]), Encoding({"a": A}, "tokenizer"), Graph(A, B, count=7))).map(lambda t: t * 2)
    built, encoding, graph = doubled.args
    assert len(built) == 2 and not hasattr(built, "missing") and encoding.origin == "tokenizer" and graph.count == 7
    assert torch.equal(encoding.a, 2 * A)
    opaque = object()
    config = Graph(nodes="none", weights=3)  # type: ignore[arg-type]
    assert Inputs((opaque, config, None)).map(lambda t: t * 2).args == (opaque, config, None)
    assert Inputs((opaque, config)).map(lambda t: t * 2).args[1] is config and Inputs((opaque,)).tensors() == []


def test_packed_sequences_are_seen_into() -> None:
    packed = pack_sequence([torch.ones(3, 4), torch.ones(2, 4)])
    doubled = Inputs((packed,)).map(lambda t: t * 2 if t.is_floating_point() else t)
    assert type(doubled.args[0]) is PackedSequence and torch.equal(doubled.args[0].data, 2 * packed.data)
    assert names(layer_order(nn.LSTM(4, 3, 2), Inputs((packed,)))) == ["l0", "l1"]


def test_the_usual_forms_are_inputs_too() -> None:
    for given, args, kwargs in [
        (A, (A,), {}),
        ((A, 3), (A, 3), {}),
        ({"x": A}, (), {"x": A}),
        (Encoding({"x": A}), (), {"x": A}),
        (Graph(A, B), None, {}),
        ([A, B], None, {}),
    ]:
        inputs = Inputs.of(given)
        assert inputs.kwargs == kwargs and (inputs.args == args if args is not None else inputs.args == (given,))
    assert Inputs.of(inputs) is inputs and Inputs().args == () and str(Inputs()) == "nothing"


class Model(nn.Module):
    """Two layers, registered in the opposite order, whose tensors and constants ``read`` takes from the arguments."""

    def __init__(self, read: Any) -> None:
        super().__init__()
        self.last, self.first = nn.Linear(5, 2), nn.Linear(4, 5)
        self.read = read

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        x, weight, factor = self.read(*args, **kwargs)
        return self.last(torch.relu(self.first(x * factor)) * weight)


COLUMN = torch.ones(3, 1)


def graph_of(batch: Any) -> tuple[Tensor, Tensor, int]:
    assert isinstance(batch, Graph) and isinstance(batch.inner, Graph)
    return batch.nodes, batch.inner.weights, batch.count


def encoding_of(batch: Any) -> tuple[Tensor, Tensor, int]:
    assert type(batch) is Encoding and batch.origin == "here"
    return batch.x, batch["weight"], batch["factor"]


CALLS = {
    "several inputs": (lambda x, weight: (x, weight, 1), Inputs((ROW, COLUMN))),
    "an argument that is a tuple": (lambda pair, n: (*pair, n), Inputs(((ROW, COLUMN), 2))),
    "a constant": (lambda x, rate, *, weight: (x, weight, rate / 16_000), Inputs((ROW, 16_000), {"weight": COLUMN})),
    "a user dict": (encoding_of, Inputs((Encoding({"x": ROW, "weight": COLUMN, "factor": 2}, "here"),))),
    "dataclasses": (graph_of, Inputs((Graph(ROW, COLUMN, inner=Graph(ROW, COLUMN)),))),
    "a named tuple": (
        lambda batch: (batch.first, batch.second.x, batch.second.y),
        Inputs((Pair(ROW, Point(COLUMN, 3)),)),
    ),
    "a dataclass in a dict": (
        lambda **kw: graph_of(kw["batch"]),
        Inputs((), {"batch": Graph(ROW, COLUMN, 2, Graph(ROW, COLUMN))}),
    ),
}


@pytest.mark.parametrize("kind", CALLS)
def test_layers_are_ordered_on_inputs_of_every_kind(kind: str) -> None:
    read, inputs = CALLS[kind]
    order = layer_order(Model(read), inputs)
    assert names(order) == ["first", "last"] and order.verified and not order.warnings
    assert order["last"].after == ("first",)
    assert order.graph is not None
    placeholders = [node for node in order.graph.nodes if node.op == "placeholder"]
    assert len(placeholders) == len({id(tensor) for tensor in inputs.tensors()})
    with torch.device("meta"):
        model = Model(read)
    assert layer_order(model, inputs).fingerprint == order.fingerprint


@pytest.mark.parametrize("kind", CALLS)
def test_symmetries_are_found_on_inputs_of_every_kind(kind: str) -> None:
    read, inputs = CALLS[kind]
    found = symmetry(Model(read), inputs)
    assert [(group.name, group.size) for group in found.groups] == [("first.weight[0]", 5)] and found.rejected == ()


def test_a_batch_encoding_of_transformers_is_one_argument() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    batch = transformers.BatchEncoding({"x": ROW, "weight": COLUMN})

    def read(encoding: Any) -> tuple[Tensor, Tensor, int]:
        assert type(encoding) is transformers.BatchEncoding
        return encoding.x, encoding["weight"], 1

    assert names(layer_order(Model(read), Inputs((batch,)))) == ["first", "last"]
    assert [group.size for group in symmetry(Model(read), Inputs((batch,))).groups] == [5]


class Auxiliary(nn.Module):
    """A head that runs in training mode only, behind a norm that cannot train on one row."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.body, self.head = nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, batch: Graph) -> Graph:
        x = self.body(self.norm(batch.nodes))
        return Graph(x, self.head(x)) if self.training else Graph(x, x)


def test_the_batch_inside_a_dataclass_is_doubled_for_training() -> None:
    order = layer_order(Auxiliary(), Inputs((Graph(ROW[:1], COLUMN[:1]),)))
    assert names(order) == ["body", "head"] and order.tracer == "dispatch+train" and not order.unused


class Threaded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last, self.hidden, self.first = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, batch: Graph) -> Tensor:
        results: list[Tensor] = []
        x = self.first(batch.nodes)
        worker = threading.Thread(target=lambda: results.append(self.hidden(x)))
        worker.start()
        worker.join()
        return self.last(results[0])


def test_gradients_are_tracked_through_a_dataclass() -> None:
    order = layer_order(Threaded(), Inputs((Graph(ROW, COLUMN),)))
    assert names(order) == ["first", "hidden", "last"] and order.tracer == "dispatch+autograd"


class Greedy(nn.Module):
    """Takes its batch apart, and writes to it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, batch: Encoding, graph: Graph, rows: list[Tensor]) -> Tensor:
        graph.nodes.mul_(2)
        graph.nodes = self.linear(graph.nodes + batch.pop("x"))
        graph.inner = None
        return graph.nodes + self.linear(rows.pop())


@pytest.mark.parametrize("look", [layer_order, symmetry])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_that_changes_its_batch_leaves_the_callers_alone(look: Any, dtype: torch.dtype) -> None:
    row = ROW.to(dtype, copy=True)
    batch, graph, rows = (
        Encoding({"x": row.clone()}),
        Graph(row.clone(), COLUMN, inner=Graph(row, COLUMN)),
        [row.clone()],
    )
    nodes, inner = graph.nodes, graph.inner
    look(Greedy().to(dtype), Inputs((batch, graph, rows)))
    assert list(batch) == ["x"] and graph.nodes is nodes and graph.inner is inner and len(rows) == 1
    assert all(torch.equal(tensor, row) for tensor in (batch["x"], graph.nodes, *rows))


def test_what_a_model_refuses_is_described() -> None:
    with pytest.raises(
        OrderError, match=r"0: Graph\{nodes: float32\[3, 4\], .*count: 2, inner: None\}, 1: 16000.*Inputs\("
    ):
        layer_order(nn.Linear(4, 2), Inputs((Graph(ROW, COLUMN), 16_000)))
    with pytest.raises(OrderError, match=r"rate: 16000, batch: Encoding\{x: \[float32\[3, 4\], 'a'\]\}"):
        layer_order(nn.Linear(4, 2), Inputs((), {"rate": 16_000, "batch": Encoding({"x": (ROW, "a")})}))
