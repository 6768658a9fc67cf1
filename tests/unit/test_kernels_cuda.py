"""Which function computes a block's activation on CUDA: the routing, with stand-ins. No number of a GPU is tested."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from gatewise import activations
from gatewise.kernels import _cuda
from gatewise.kernels._feedforward import FeedForward


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    _cuda.function.cache_clear()
    yield
    _cuda.function.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, *installed: str) -> None:
    monkeypatch.setattr(_cuda, "installed", lambda package: package in installed)


class Applied(torch.autograd.Function):
    """A stand-in for Liger's: of another value, so that its call is seen."""

    @staticmethod
    def forward(ctx: object, gate: Tensor, up: Tensor) -> Tensor:
        return gate * 0 + up * 0 + 7

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, Tensor]:
        return grads[0], grads[0]


def with_liger(monkeypatch: pytest.MonkeyPatch, **functions: object) -> None:
    package, ops = ModuleType("liger_kernel"), ModuleType("liger_kernel.ops")
    vars(ops).update(functions)
    monkeypatch.setitem(sys.modules, "liger_kernel", package)
    monkeypatch.setitem(sys.modules, "liger_kernel.ops", ops)
    pretend(monkeypatch, "liger_kernel")


@pytest.mark.parametrize(
    ("name", "liger"), [("swiglu", "LigerSiLUMulFunction"), ("geglu_tanh", "LigerGELUMulFunction")]
)
def test_liger_where_it_is_installed(name: str, liger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_liger(monkeypatch, **{liger: Applied})
    function, why = _cuda.function(name)
    assert why == "liger"
    assert function(torch.zeros(2), torch.zeros(2)).tolist() == [7, 7]


def test_ligers_gelu_is_the_tanh_form_and_not_taken_for_erf(monkeypatch: pytest.MonkeyPatch) -> None:
    with_liger(monkeypatch, LigerGELUMulFunction=Applied, LigerSiLUMulFunction=Applied)
    for name in ("geglu", "gelu", "silu", "swiglu_clamped", "reglu"):
        function, why = _cuda.function(name)
        assert why == f"torch: Liger has no {name}, and torch.compile needs triton"
        assert function is activations.get(name).torch


def test_a_liger_without_the_function_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with_liger(monkeypatch)
    assert "liger_kernel.ops has no LigerSiLUMulFunction" in _cuda.function("swiglu")[1]


def test_the_compiled_stock_function_where_triton_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "triton")
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: compiled.append(function) or function)
    function, why = _cuda.function("swiglu")
    assert why == "compile: liger_kernel is not installed"
    assert compiled == [function] == [activations.get("swiglu").torch]


def test_the_stock_function_where_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    function, why = _cuda.function("gelu")
    assert (function, why) == (
        activations.get("gelu").torch,
        "torch: Liger has no gelu, and torch.compile needs triton",
    )


@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_a_block_computes_its_activation_so(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    block = FeedForward(6, 10, activation)
    x = torch.ones(3, 6)
    stock = activations.get(activation).torch
    monkeypatch.setattr(_cuda, "function", lambda name: ((lambda *inputs: 2 * stock(*inputs)), "a stand-in"))
    monkeypatch.setattr("gatewise.kernels._block_route.on_cuda", lambda x: True)
    assert block.path_of(x) == "cuda: a stand-in"
    torch.testing.assert_close(block(x), 2 * activations.FeedForward.forward(block, x))
