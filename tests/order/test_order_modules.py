"""Modules of every kind: recurrent, attention, tied, parametrized, threaded, wrapped; dicts; bad input."""

from typing import Any

import pytest
import torch
from helpers.order_modules import Checkpointed, ForceField, Latents, Repeated, Threaded, Tied, ValueDependent
from torch import Tensor, nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order import LayerOrder, layer_order, phases


def names(order: LayerOrder) -> list[str]:
    return [layer.name for layer in order.layers]


def test_recurrent_layers_are_split_by_depth() -> None:
    order = layer_order(
        nn.Sequential(nn.Embedding(7, 4), nn.LSTM(4, 5, num_layers=2, bidirectional=True)), torch.ones(3, 2).long()
    )
    assert names(order) == ["0", "1.l0", "1.l1"]
    assert order["1.l1"].after == ("1.l0",) and len(order["1.l0"].parameters) == 8


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN, nn.LSTM])
def test_every_recurrent_kind_is_covered(kind: type[nn.Module]) -> None:
    order = layer_order(kind(3, 4, num_layers=3), torch.zeros(2, 1, 3))
    assert names(order) == ["l0", "l1", "l2"] and order["l2"].after == ("l1",) and not order.unused


def test_transformer_runs_encoder_then_decoder() -> None:
    model = nn.Transformer(8, 2, 2, 2, 16, batch_first=True)
    order = layer_order(model, (torch.zeros(1, 3, 8), torch.zeros(1, 4, 8)))
    first = names(order).index
    assert first("encoder.layers.1.linear2") < first("decoder.layers.0.self_attn.in_proj")
    assert order["decoder.layers.0.multihead_attn.out_proj"].type == "NonDynamicallyQuantizableLinear"
    assert order["encoder.layers.0.self_attn.in_proj"].type == "MultiheadAttention.in_proj"
    # Self-attention of the decoder needs nothing of the encoder: they are parallel.
    assert order["decoder.layers.0.self_attn.in_proj"].after == () and not order.unused


def test_tied_weights_stand_at_their_first_use() -> None:
    order = layer_order(Tied(), {"ids": torch.zeros(2, 3, dtype=torch.long)})
    assert names(order) == ["head", "body"]
    assert order["head"].calls == 2
    assert order.back_edges == (("body", "head"),)


def test_a_repeated_module_is_counted_and_stands_once() -> None:
    order = layer_order(Repeated(), torch.zeros(1, 4))
    assert names(order) == ["first", "second", "unused"]
    assert [layer.calls for layer in order.layers] == [3, 3, 0]
    assert order.unused == ("unused.weight", "unused.bias") and "unused.weight" in order.warnings[-1]
    assert phases(order, "layer")[-1].layers == ("second", "unused")


def test_parametrizations_belong_to_their_host() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrizations.spectral_norm(model[1])
    nn.utils.parametrizations.orthogonal(model[2])
    order = layer_order(model, torch.zeros(1, 4))
    assert [(layer.name, layer.type) for layer in order.layers] == [(i, "Linear") for i in "012"]
    assert "0.parametrizations.weight.original1" in order["0"].parameters


def test_direct_parameters_and_writes_into_slices() -> None:
    order = layer_order(Latents(), torch.zeros(2, 4))
    assert names(order) == ["weights.0", "inner", "token", "weights.1", "weights.2", "scale"]
    # The token is written into what the other two gave, as it would be concatenated to it.
    assert order["token"].after == ("weights.0", "inner") and order["weights.1"].after == ("token",)
    assert order["inner"].parallel == "1.1/2.2" and order["scale"].parallel == "1.2"


def test_what_another_thread_ran_is_placed_by_autograd() -> None:
    order = layer_order(Threaded(), torch.zeros(1, 4))
    assert names(order) == ["first", "hidden", "last"]
    assert order.tracer == "dispatch+autograd" and not order.unused
    assert order["hidden"].after == ("first",) and order["last"].after == ("hidden",)
    assert "no recorded operation made (another thread, a global) reached last:" in order.warnings[1]


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda model: model])
def test_wrappers_and_checkpointing_are_looked_through(wrap: Any) -> None:
    order = layer_order(wrap(Checkpointed()), torch.zeros(1, 4))
    assert names(order) == ["a", "b"] and order.model == "Checkpointed"


def test_control_flow_on_values_is_followed_and_named() -> None:
    order = layer_order(ValueDependent(), torch.zeros(1, 4))
    assert names(order) == ["a", "b"] and "numpy) behind a:" in order.warnings[0]


def test_a_model_that_needs_gradients_runs_with_them() -> None:
    order = layer_order(ForceField(), torch.zeros(2, 3))
    assert names(order) == ["embed", "energy"] and "gradients enabled" in order.warnings[0]


def test_meta_modules_are_ordered_without_memory() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(100_000, 100_000), nn.LayerNorm(100_000), nn.Linear(100_000, 10))
    order = layer_order(model, torch.zeros(1, 100_000))
    assert [(layer.name, layer.attached) for layer in order.layers] == [("0", ("1",)), ("2", ())]


def test_a_value_that_meta_does_not_have_is_guessed_and_said() -> None:
    order = layer_order(ValueDependent().to("meta"), torch.zeros(1, 4))
    assert names(order) == ["a", "b"] and not order.verified and "taken as 1" in order.warnings[0]


def test_without_inputs_the_code_is_read_and_nothing_is_verified() -> None:
    order = layer_order(Repeated())
    assert names(order) == ["first", "second", "unused"]
    assert order.tracer == "symbolic" and not order.verified and order.warnings


def test_without_inputs_what_cannot_be_followed_is_named() -> None:
    order = layer_order(nn.Sequential(ValueDependent(), nn.Linear(4, 4)))
    assert names(order) == ["0.b", "0.a", "1"] and "inside ValueDependent" in order.warnings[1]
    assert order["1"].after == ("0.a",)
    order = layer_order(ValueDependent())
    assert order.tracer == "registration" and names(order) == ["b", "a"] and "registration" in order.warnings[0]


class Numpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.a = nn.Linear(4, 4), nn.Linear(4, 4)
        self.constant = torch.ones(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.from_numpy(self.a(x + self.constant + torch.tensor(1.0)).numpy()))


def test_a_way_through_numpy_keeps_the_order_and_is_named() -> None:
    order = layer_order(Numpy(), torch.zeros(1, 4))
    assert names(order) == ["a", "b"]
    assert "values left the graph (as numbers, or for numpy) behind a:" in order.warnings[0]


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last, self.no, self.yes = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cond(x.sum() > -1, self.yes, self.no, (x,)))


def test_of_a_functional_condition_the_branch_taken_is_followed() -> None:
    order = layer_order(Conditional(), torch.zeros(1, 4))
    assert names(order) == ["yes", "last", "no"] and order["last"].after == ("yes",)
    assert order.unused == ("no.weight", "no.bias")


def test_scripted_modules_are_followed() -> None:
    model = torch.jit.script(nn.Sequential(nn.Conv1d(1, 2, 1), nn.BatchNorm1d(2)))
    order = layer_order(model, torch.zeros(2, 1, 4))
    assert all(module.training for module in model.modules())
    assert [(layer.name, layer.type, layer.attached) for layer in order.layers] == [("0", "Conv1d", ("1",))]


class Aliased(nn.Module):
    """A buffer that shows a part of a weight, and two weights cut from one storage."""

    def __init__(self) -> None:
        super().__init__()
        flat = torch.randn(32)
        self.second, self.first = nn.Parameter(flat[:16].view(4, 4)), nn.Parameter(flat[16:].view(4, 4))
        self.register_buffer("shown", self.second.data[:2])

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.first @ self.second.t() + self.shown.sum()


def test_weights_that_share_a_storage_are_told_apart() -> None:
    order = layer_order(Aliased(), torch.zeros(1, 4))
    assert names(order) == ["first", "second"] and not order.unused


class Picky(nn.Module):
    """Runs only in evaluation mode, and leaves a layer out."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training or x.requires_grad:
            raise RuntimeError("not here")
        return self.used(x)


def test_a_fallback_that_failed_is_named() -> None:
    warnings = layer_order(Picky(), torch.zeros(1, 4)).warnings
    assert [warning.partition(",")[0] for warning in warnings[:2]] == [
        "a pass in training mode",
        "a pass with gradients",
    ]
    assert all("RuntimeError: not here" in warning for warning in warnings[:2]) and "spare.weight" in warnings[2]


def test_levels_put_what_no_data_feed_first() -> None:
    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.side = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) + self.side(torch.ones(4))

    assert names(layer_order(Side(), torch.zeros(4))) == ["a", "b", "side"]
    assert names(layer_order(Side(), torch.zeros(4), order="levels")) == ["a", "side", "b"]


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.ReLU(), torch.zeros(1), "ReLU has no parameters"),
        (nn.LazyLinear(3), torch.zeros(1, 2), "lazy parameters without a shape"),
        (nn.Linear(3, 3), torch.zeros(1, 2), r"Linear does not run .*float32\[1, 2\].*RuntimeError: .*mat1 and mat2"),
        (nn.Linear(3, 3), {"y": torch.zeros(1, 2)}, r"y: float32\[1, 2\].*TypeError"),
    ],
)
def test_bad_input_is_named(model: nn.Module, inputs: Any, message: str) -> None:
    with pytest.raises(OrderError, match=message):
        layer_order(model, inputs)
