"""Activation, GatedUnit and FeedForward as modules."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from gatewise import FeedForward
from gatewise.activations import Activation, GatedUnit, get, names
from gatewise.core import GatewiseError

scalars, gates = names("scalar"), names("gate")


@pytest.mark.parametrize("name", scalars)
def test_activation_runs_the_stock_function(name: str) -> None:
    module = Activation(name)
    x = torch.linspace(-9, 9, 1001)
    assert torch.equal(module(x), get(name).torch(x))
    assert repr(module) == f"Activation('{name}')"
    assert not list(module.parameters())


def test_activation_is_bit_identical_to_torch() -> None:
    x = torch.linspace(-9, 9, 100_001)
    for name, stock in {
        "gelu": nn.GELU(),
        "gelu_tanh": nn.GELU(approximate="tanh"),
        "silu": nn.SiLU(),
        "relu": nn.ReLU(),
        "mish": nn.Mish(),
        "elu": nn.ELU(),
        "selu": nn.SELU(),
        "softplus": nn.Softplus(),
        "hardswish": nn.Hardswish(),
        "leaky_relu": nn.LeakyReLU(),
        "sigmoid": nn.Sigmoid(),
        "tanh": nn.Tanh(),
        "identity": nn.Identity(),
    }.items():
        assert torch.equal(Activation(name)(x), stock(x)), name
        assert torch.equal(Activation(name)(x.bfloat16()), stock(x.bfloat16())), name


def test_activation_agrees_with_transformers() -> None:
    table = pytest.importorskip("transformers.activations").ACT2FN
    x = torch.linspace(-9, 9, 100_001)
    for theirs, ours in {"gelu": "gelu", "silu": "silu", "relu": "relu", "relu2": "relu2", "mish": "mish"}.items():
        assert torch.equal(table[theirs](x), Activation(ours)(x)), theirs
    assert torch.equal(table["quick_gelu"](x), Activation("quick_gelu")(x))
    # The same formula in other steps.
    for theirs in ("gelu_new", "gelu_fast", "gelu_pytorch_tanh"):
        torch.testing.assert_close(table[theirs](x), Activation("gelu_tanh")(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", gates)
def test_gated_unit_is_the_gate_of_two_linears(name: str) -> None:
    torch.manual_seed(0)
    unit = GatedUnit(6, 10, name, bias=True)
    x = torch.randn(2, 3, 6)
    assert torch.equal(unit(x), get(name).torch(unit.gate(x), unit.up(x)))
    assert unit(x).shape == (2, 3, 10)
    assert {key for key, _ in unit.named_parameters()} == {"gate.weight", "gate.bias", "up.weight", "up.bias"}
    assert f"'{name}'" in repr(unit)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("bias", [False, True])
def test_feedforward_shapes_and_gradients(name: str, bias: bool) -> None:
    block = FeedForward(8, activation=name, bias=bias)
    # Equal parameters: 32 in two matrices, 21 (with biases 21 too) in three.
    assert block.hidden == (32 if get(name).kind == "scalar" else 21)
    for shape in ((8,), (0, 8), (5, 8), (2, 0, 8), (2, 3, 4, 8)):
        x = torch.randn(shape, requires_grad=True)
        y = block(x)
        assert y.shape == shape
        y.sum().backward()
        assert x.grad is not None
        assert x.grad.shape == shape
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in block.parameters())
    assert f"hidden={block.hidden}" in repr(block)
    assert f"activation='{name}'" in repr(block)


def test_a_given_width_is_used_as_it_is() -> None:
    for name in ("gelu", "swiglu"):
        assert FeedForward(8, 13, name, multiple_of=64).hidden == 13


def test_feedforward_starts_as_torch_starts_linears() -> None:
    torch.manual_seed(3)
    block = FeedForward(8, 16, "gelu", bias=True)
    torch.manual_seed(3)
    up, down = nn.Linear(8, 16), nn.Linear(16, 8)
    assert torch.equal(block.up.weight, up.weight)
    assert torch.equal(block.down.bias, down.bias)


@pytest.mark.parametrize("name", ["gelu", "identity", "quick_gelu", "swiglu", "swiglu_clamped"])
def test_modules_can_be_copied_pickled_saved_and_moved(name: str) -> None:
    block = FeedForward(8, activation=name)
    x = torch.randn(3, 8)
    assert torch.equal(copy.deepcopy(block)(x), block(x))
    assert torch.equal(pickle.loads(pickle.dumps(block))(x), block(x))
    buffer = io.BytesIO()
    torch.save(block.state_dict(), buffer)
    buffer.seek(0)
    other = FeedForward(8, activation=name)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other(x), block(x))
    assert block.to(torch.bfloat16)(x.bfloat16()).dtype == torch.bfloat16
    assert FeedForward(8, activation=name).to("meta")(torch.empty(3, 8, device="meta")).shape == (3, 8)


def first_line(error: pytest.ExceptionInfo[GatewiseError]) -> str:
    return str(error.value).splitlines()[0]


def test_bad_input_is_named() -> None:
    with pytest.raises(GatewiseError) as error:
        FeedForward(8, activation="swigul")
    assert first_line(error) == "unknown activation 'swigul'; did you mean 'swiglu'?"
    for dim in (0, -8, 8.0, "8", True):
        with pytest.raises(GatewiseError, match="dim must be a whole number of at least 1, got"):
            FeedForward(dim)
    with pytest.raises(GatewiseError, match="hidden must be a whole number of at least 1, got 0"):
        FeedForward(8, 0)
    with pytest.raises(GatewiseError, match="multiple_of must be a whole number of at least 1, got -1"):
        FeedForward(8, 16, multiple_of=-1)
    with pytest.raises(GatewiseError, match="unknown matching 'flop'; did you mean 'flops'"):
        FeedForward(8, 16, "gelu", matching="flop")
    with pytest.raises(GatewiseError) as error:
        FeedForward(8)(torch.zeros(2, 7))
    assert first_line(error) == "FeedForward expects [..., 8], got [2, 7]"
    with pytest.raises(GatewiseError, match="'swiglu' is a gate with two inputs, not a scalar activation"):
        Activation("swiglu")
    with pytest.raises(GatewiseError, match="'gelu' is a scalar activation, not a gate"):
        GatedUnit(8, 8, "gelu")
    with pytest.raises(GatewiseError, match="unknown activation 'gellu'; did you mean 'gelu'"):
        get("gellu")
