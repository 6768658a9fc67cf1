"""What a bad input says: one line that names what is wrong, and both shapes where two must match."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatewise import activations, functional, kernels
from gatewise.core import GatewiseError
from gatewise.kernels._choice import forced

DENSE: list[tuple[str, Any, str]] = [
    ("a list", [1.0], "x must be a tensor, got list"),
    ("nothing", None, "x must be a tensor, got NoneType"),
    ("an array", torch.ones(4, 24).numpy(), "x must be a tensor, got ndarray"),
    ("columns", torch.ones(4, 25), "expects [..., 24], got [4, 25]"),
    ("no dimension", torch.tensor(1.0), "expects [..., 24], got []"),
    ("integers", torch.ones(4, 24, dtype=torch.int64), "must have one dtype, got [4, 24] of torch.int64 and [{}] of"),
    (
        "float64",
        torch.ones(4, 24).double(),
        "must have one dtype, got [4, 24] of torch.float64 and [{}] of torch.float32",
    ),
    ("bfloat16", torch.ones(4, 24).bfloat16(), "must have one dtype, got [4, 24] of torch.bfloat16 and [{}] of"),
]


def said(call: Callable[[], object]) -> str:
    with pytest.raises(GatewiseError) as caught:
        call()
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("valid: "))
    return lines[0]


def linear() -> tuple[nn.Module, str]:
    return kernels.Linear(24, 40), "40, 24"


def block() -> tuple[nn.Module, str]:
    return kernels.FeedForward(24, 40), "24, 40"


def unit() -> tuple[nn.Module, str]:
    return kernels.GatedUnit(24, 40, "swiglu"), "40, 24"


@pytest.mark.parametrize("made", [linear, block, unit])
@pytest.mark.parametrize(("given", "words"), [case[1:] for case in DENSE], ids=[case[0] for case in DENSE])
@pytest.mark.parametrize("how", ["training", "inference", "compiled"])
@pytest.mark.filterwarnings("ignore:Dynamo detected a call:UserWarning")
def test_a_module_names_what_it_was_given_and_what_it_takes(
    made: Callable[[], tuple[nn.Module, str]], given: Any, words: str, how: str
) -> None:
    module, shape = made()
    call: Any = torch.compile(module, backend="eager") if how == "compiled" else module.train(how == "training")
    with torch.set_grad_enabled(how == "training"):
        assert words.format(shape) in said(lambda: call(given))
    torch.compiler.reset()


@pytest.mark.parametrize("made", [linear, block])
def test_the_device_and_autocast(made: Callable[[], tuple[nn.Module, str]]) -> None:
    module, shape = made()
    with torch.autocast("cpu"):
        assert f"one dtype, got [2, 24] of torch.int64 and [{shape}]" in said(
            lambda: module(torch.ones(2, 24, dtype=torch.int64))
        )
        assert module(torch.ones(2, 24).half()).dtype == torch.bfloat16
    layer = kernels.Linear(24, 40)
    assert "must have one device, got [2, 24] of meta and [40, 24] of cpu" in said(
        lambda: layer(torch.ones(2, 24, device="meta"))
    )


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_tensors_go_through_a_layer_as_they_do_through_torchs() -> None:
    rows = torch.randn(2, 24), torch.randn(3, 24)
    layer, whole = kernels.Linear(24, 40), kernels.FeedForward(24, 40)
    nested: Any = torch.nested.nested_tensor(list(rows))
    for found, x in zip(layer(nested).unbind(), rows, strict=True):
        torch.testing.assert_close(found, nn.functional.linear(x, layer.weight, layer.bias))
    assert layer.path(nested) == "F.linear: products are chosen for dense tensors, not nested ones"
    assert "must be a dense tensor, or a nested one of layout torch.jagged" in said(lambda: whole(nested))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1], 2), "in_features must be a whole number of at least 0, got [1]"),
        ((3.0, 2), "in_features must be a whole number of at least 0, got 3.0"),
        ((3, -1), "out_features must be a whole number of at least 0, got -1"),
        ((3, 2, True, None, "float32"), "dtype must be a floating or complex torch.dtype, got 'float32'"),
        ((3, 2, True, None, torch.int32), "dtype must be a floating or complex torch.dtype, got torch.int32"),
    ],
)
def test_a_layer_of_no_size(arguments: Any, words: str) -> None:
    assert said(lambda: kernels.Linear(*arguments)) == f"Linear: {words}"


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        ("x", "forced takes question=way, such as forced(linear='torch'), or a mapping, not 'x'"),
        (["linear"], "forced takes question=way"),
        (3, "forced takes question=way"),
        ({"linear": 3}, "unknown way of 'linear' 3"),
        ({"linear": ["torch"]}, "unknown way of 'linear' ['torch']"),
        ({1: "torch"}, "unknown question to force a way for 1"),
        ({("a", "b"): "torch"}, "unknown question to force a way for ('a', 'b')"),
        ({"ffn": "onednn"}, "unknown way of 'ffn' 'onednn'"),
    ],
)
def test_forcing_what_nobody_knows(ways: Any, words: str) -> None:
    def enter() -> None:
        with forced(ways):
            raise AssertionError

    assert said(enter).startswith(words)


def test_forcing_a_question_twice() -> None:
    def enter() -> None:
        with forced({"linear": "torch"}, linear="onednn"):
            raise AssertionError

    assert said(enter) == "forced: linear is given twice"


@pytest.mark.parametrize("function", [activations.swiglu_clamped, functional.swiglu_clamped])
@pytest.mark.parametrize("bad", ["a", None, [7.0], 1j, True, float("nan"), torch.tensor(3.0)])
def test_a_limit_and_an_alpha_that_are_no_numbers(function: Callable[..., Tensor], bad: Any) -> None:
    x = torch.randn(3)
    assert said(lambda: function(x, x, bad)).startswith("swiglu_clamped: limit must be a number, got ")
    assert said(lambda: function(x, x, 3.0, bad)).startswith("swiglu_clamped: alpha must be a number, got ")


def test_other_settings_of_functions() -> None:
    x = torch.randn(3)
    assert said(lambda: functional.swiglu_clamped(x, x, -1.0)) == "swiglu_clamped: limit must be above 0, got -1.0"
    assert said(lambda: functional.elu(x, "a")) == "elu: alpha must be a number, got 'a'"  # pyright: ignore[reportArgumentType]
    assert said(lambda: functional.leaky_relu(x, None)) == "leaky_relu: negative_slope must be a number, got None"  # pyright: ignore[reportArgumentType]
    assert said(lambda: functional.bilinear(x, x.to("meta"))) == (
        "bilinear: gate and up must be on one device, got cpu and meta"
    )


def test_names_without_a_kernel() -> None:
    assert said(lambda: kernels.Activation("relu")) == "relu has no kernel"
    assert said(lambda: kernels.GatedUnit(3, 4, "reglu")) == "reglu has no kernel"
    assert said(lambda: kernels.GatedUnit.of(activations.GatedUnit(3, 4, "reglu"))) == "reglu has no kernel"
    assert "not ReLU, which may differ" in said(lambda: kernels.GatedUnit.of(nn.ReLU()))  # pyright: ignore[reportArgumentType]
    assert said(lambda: kernels.Activation(["gelu"])).startswith("unknown activation ['gelu']")  # pyright: ignore[reportArgumentType]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_what_is_no_packed_projection() -> None:
    nested: Any = torch.nested.nested_tensor([torch.randn(2), torch.randn(4)])
    cases: list[tuple[Any, str]] = [
        (torch.randn(4, 5), "gate and up must be the two halves of an even width, got [4, 5]"),
        (torch.tensor(1.0), "gate and up must be the two halves of an even width, got []"),
        ([1.0], "a packed projection must be a tensor, got list"),
        (torch.eye(4).to_sparse(), "a packed projection must be a dense tensor, got torch.sparse_coo"),
        (nested, "a packed projection must be a dense tensor, got a nested one"),
        (torch.arange(4), "gate must have a floating dtype, got torch.int64"),
    ]
    for given, words in cases:
        assert said(lambda given=given: kernels.gate_packed("swiglu", given)) == f"swiglu: {words}"


def test_packed_asked_of_a_block_that_cannot_be_packed() -> None:
    with torch.inference_mode():  # torch does not count the changes of such weights
        block = kernels.FeedForward(24, 40, path="packed").eval()
        x = torch.randn(5, 24)
    with torch.no_grad():
        assert block.path_of(x.clone()) == "blocked: path='packed', and these weights cannot be packed"
        stock = activations.FeedForward(24, 40)
        stock.load_state_dict(block.state_dict())
        torch.testing.assert_close(block(x.clone()), stock(x.clone()))
    assert block.packed_bytes == 0
    assert said(lambda: block.path_of(torch.ones(5, 25))) == "FeedForward expects [..., 24], got [5, 25]"
