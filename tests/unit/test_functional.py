"""Every name of the table is a function; bad input gets one clear line."""

from types import ModuleType

import pytest
import torch

import gatewise
from gatewise import functional, kernels
from gatewise.activations import get, names
from gatewise.core import GatewiseError


def message(error: pytest.ExceptionInfo[GatewiseError]) -> str:
    return str(error.value).splitlines()[0]


def test_functional_has_the_table_and_nothing_else() -> None:
    public = {
        name
        for name, value in vars(functional).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(names())
    assert gatewise.functional is functional


@pytest.mark.parametrize("name", names())
def test_functions_are_the_stock_code_and_documented(name: str) -> None:
    spec = get(name)
    function = getattr(functional, name)
    x = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        inputs = (x.to(dtype),) if spec.kind == "scalar" else (x.to(dtype), x.flip(0).to(dtype))
        got, stock = function(*inputs), spec.torch(*inputs)
        if name in kernels.names() and dtype != torch.float64:
            rounding = 1e-2 if dtype == torch.bfloat16 else 2e-6
            torch.testing.assert_close(got, stock, atol=rounding, rtol=rounding)
        else:
            assert torch.equal(got, stock)
    assert function.__name__ == name
    assert "GatewiseError" in function.__doc__


@pytest.mark.parametrize("name", names())
def test_integers_and_other_types_are_refused(name: str) -> None:
    count = 1 if get(name).kind == "scalar" else 2
    argument = "x" if count == 1 else "gate"
    function = getattr(functional, name)
    with pytest.raises(GatewiseError) as error:
        function(*[torch.arange(3)] * count)
    assert message(error) == f"{name}: {argument} must have a floating dtype, got torch.int64"
    with pytest.raises(GatewiseError) as error:
        function(*[[1.0, 2.0]] * count)
    assert message(error) == f"{name}: {argument} must be a tensor, got list"


@pytest.mark.parametrize("name", names("gate"))
def test_pairs_must_match(name: str) -> None:
    function = getattr(functional, name)
    with pytest.raises(GatewiseError) as error:
        function(torch.zeros(2, 3), torch.zeros(3))
    assert message(error) == f"{name}: gate and up must have one shape, got [2, 3] and [3]"
    with pytest.raises(GatewiseError) as error:
        function(torch.zeros(3), torch.zeros(3, dtype=torch.float64))
    assert message(error) == f"{name}: gate and up must have one dtype, got torch.float32 and torch.float64"
    with pytest.raises(GatewiseError) as error:
        function(torch.zeros(3), torch.arange(3))
    assert message(error) == f"{name}: up must have a floating dtype, got torch.int64"


def test_approximate() -> None:
    x, up = torch.linspace(-4, 4, 99), torch.linspace(-2, 3, 99)
    assert torch.equal(functional.gelu(x, "tanh"), functional.gelu_tanh(x))
    assert torch.equal(functional.gelu(x, approximate="none"), functional.gelu(x))
    assert not torch.equal(functional.gelu(x, "tanh"), functional.gelu(x))
    assert torch.equal(functional.geglu(x, up, "tanh"), functional.geglu_tanh(x, up))
    for call in (lambda: functional.gelu(x, "tan"), lambda: functional.geglu(x, up, approximate="tan")):
        with pytest.raises(GatewiseError) as error:
            call()
        assert message(error) == "unknown approximate 'tan'; did you mean 'tanh'?"


def test_parameters_of_the_functions() -> None:
    x = torch.tensor([-2.0, 3.0])
    assert torch.equal(functional.leaky_relu(x, 0.5), torch.tensor([-1.0, 3.0]))
    torch.testing.assert_close(functional.elu(x, alpha=2.0), torch.nn.functional.elu(x, 2.0))
    with pytest.raises(GatewiseError) as error:
        functional.swiglu_clamped(x, x, limit=0.0)
    assert message(error) == "swiglu_clamped: limit must be above 0, got 0.0"


def test_empty_and_scalar_tensors() -> None:
    for name in names():
        count = 1 if get(name).kind == "scalar" else 2
        for shape in ((), (0,), (2, 0)):
            assert getattr(functional, name)(*[torch.zeros(shape)] * count).shape == shape
