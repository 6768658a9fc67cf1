"""The operators in torch: values and gradients against float64, layouts, outputs that are given, what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gatewise import kernels
from gatewise.activations import get

pytestmark = pytest.mark.skipif(not kernels.names(), reason=f"native kernels: {kernels.status()}")

every = pytest.mark.parametrize("name", kernels.names())
gates = pytest.mark.parametrize("name", [name for name in kernels.names() if get(name).kind == "gate"])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def num_inputs(name: str) -> int:
    return 2 if get(name).kind == "gate" else 1


def made(name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.randn(shape).to(dtype) for _ in range(num_inputs(name))]


def op(name: str, suffix: str = "") -> Any:
    return getattr(torch.ops.gatewise, name + suffix).default


def results(name: str) -> list[str]:
    """The keyword arguments that take the gradients."""
    return ["by_gate", "by_up"] if num_inputs(name) == 2 else ["by_x"]


def together(found: Any) -> list[Tensor]:
    return list(found) if isinstance(found, tuple) else [found]


def close(got: Tensor, wanted: Any) -> None:
    """Against float64: to float32's rounding, or to two roundings of bfloat16."""
    single = got.dtype == torch.float32
    torch.testing.assert_close(
        got.double(),
        torch.as_tensor(wanted, dtype=torch.float64),
        atol=1e-6 if single else 1e-2,
        rtol=1e-5 if single else 8e-3,
    )


def equal(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, atol=0, rtol=0)


@every
@dtypes
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (5,), (16,), (3, 7, 65), (64, 333)])
def test_values_and_gradients(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = [each.requires_grad_() for each in made(name, shape, dtype)]
    y = op(name)(*x)
    exact = [each.detach().double().numpy() for each in x]
    close(y, get(name).reference(*exact))
    grad = torch.randn(shape).to(dtype)
    for got, slope in zip(torch.autograd.grad(y, x, grad), get(name).gradients(*exact), strict=True):
        close(got, grad.double() * torch.as_tensor(slope, dtype=torch.float64))


@every
@dtypes
def test_a_call_without_gradient_is_the_same(name: str, dtype: torch.dtype) -> None:
    x = made(name, (5, 31), dtype)
    for high in (False, True):
        equal(getattr(torch.ops.gatewise, name).no_grad(*x, high), op(name)(*x, high))
        grad = torch.randn(5, 31).to(dtype)
        slopes = together(getattr(torch.ops.gatewise, f"{name}_backward").no_grad(grad, *x, high))
        for got, wanted in zip(slopes, together(op(name, "_backward")(grad, *x, high)), strict=True):
            equal(got, wanted)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda t: t.transpose(1, 3),
    "every second": lambda t: t[..., ::2],
    "part of each row": lambda t: t[:, 1:5, :, 3:36],
    "rows": lambda t: t[..., 3:36],
    "expanded": lambda t: t[:, :, :1].expand(2, 6, 7, 40),
}


@every
@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_goes_in(name: str, dtype: torch.dtype, layout: str) -> None:
    whole = torch.randn(2, 6, 10, 40).to(dtype)
    x = [LAYOUTS[layout](whole + i) for i in range(num_inputs(name))]
    packed = [each.contiguous() for each in x]
    equal(op(name)(*x), op(name)(*packed))
    grad = torch.randn(x[0].shape).to(dtype)
    wanted = together(op(name, "_backward")(grad, *packed))
    for got, each in zip(together(op(name, "_backward")(grad, *x)), wanted, strict=True):
        equal(got, each)


@every
@pytest.mark.parametrize("layout", [each for each in LAYOUTS if each != "expanded"])
def test_any_layout_takes_the_result(name: str, layout: str) -> None:
    memory = torch.full((2, 6, 10, 40), torch.nan)
    out = LAYOUTS[layout](memory)
    x = made(name, tuple(out.shape))
    op(name, "_out")(*x, out=out)
    equal(out, op(name)(*x))
    assert int(memory.isnan().sum()) == memory.numel() - out.numel(), "what lies around was written to"
    grad = torch.randn(x[0].shape)
    given = {key: LAYOUTS[layout](torch.full((2, 6, 10, 40), torch.nan)) for key in results(name)}
    op(name, "_backward_out")(grad, *x, **given)
    for got, wanted in zip(given.values(), together(op(name, "_backward")(grad, *x)), strict=True):
        equal(got, wanted)


@gates
@dtypes
def test_the_halves_of_a_packed_projection(name: str, dtype: torch.dtype) -> None:
    both = torch.randn(3, 5, 2 * 77).to(dtype)
    gate, up = both.chunk(2, -1)
    wanted = op(name)(gate.contiguous(), up.contiguous())
    equal(op(name)(gate, up), wanted)
    grad = torch.randn(wanted.shape).to(dtype)
    slopes = op(name, "_backward")(grad, gate.contiguous(), up.contiguous())
    packed = torch.full_like(both, torch.nan)
    by_gate, by_up = packed.chunk(2, -1)
    op(name, "_backward_out")(grad, gate, up, by_gate=by_gate, by_up=by_up)
    equal(packed, torch.cat(slopes, -1))
    op(name, "_out")(gate, up, out=gate)
    equal(both, torch.cat((wanted, up), -1))


@every
@dtypes
def test_in_place(name: str, dtype: torch.dtype) -> None:
    x = made(name, (5, 50), dtype)
    grad = torch.randn(5, 50).to(dtype)
    value, slopes = op(name)(*x), together(op(name, "_backward")(grad, *x))
    for at in range(len(x)):
        inputs = [each.clone() for each in x]
        op(name, "_out")(*inputs, out=inputs[at])
        equal(inputs[at], value)
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):  # gradients over the inputs, over the incoming gradient
        inputs = [each.clone() for each in (grad, *x)]
        places = [inputs[i] for i in order if i < len(inputs)]
        op(name, "_backward_out")(*inputs, **dict(zip(results(name), places, strict=False)))
        for got, wanted in zip(places, slopes, strict=False):
            equal(got, wanted)


@every
def test_other_overlaps_are_refused(name: str) -> None:
    memory = torch.randn(100)
    x = [memory[:80]] * num_inputs(name)
    with pytest.raises(RuntimeError, match=r"an output \(80\) overlaps an input \(80\) without being it"):
        op(name, "_out")(*x, out=memory[10:90])
    apart = made(name, (3, 4))
    with pytest.raises(RuntimeError, match=r"an output \(3, 4\) overlaps itself"):
        op(name, "_out")(*apart, out=torch.empty(1, 4).expand(3, 4))
    if num_inputs(name) == 2:
        by = torch.empty(3, 4)
        with pytest.raises(RuntimeError, match=r"an output \(3, 4\) overlaps the other"):
            op(name, "_backward_out")(torch.ones(3, 4), *apart, by_gate=by, by_up=by)


@every
def test_what_surrounds_an_output_is_untouched(name: str) -> None:
    for dtype, start in ((torch.float32, 5), (torch.bfloat16, 1)):
        for num in (0, 1, 7, 15, 16, 17, 31, 33, 64, 127):
            memory = torch.full((num + 64,), 7.0, dtype=dtype)
            x = made(name, (num,), dtype)
            op(name, "_out")(*x, out=memory[start : start + num])
            assert (memory[:start] == 7).all()
            assert (memory[start + num :] == 7).all()
            equal(memory[start : start + num], op(name)(*x))


@every
@pytest.mark.parametrize("high", [False, True])
def test_a_number_does_not_depend_on_its_neighbours(name: str, high: bool) -> None:
    x = [4 * each for each in made(name, (1031,))]
    parts = [op(name)(*(each[i : i + 13] for each in x), high) for i in range(0, 1031, 13)]
    equal(op(name)(*x, high), torch.cat(parts))


@every
@dtypes
def test_large_outputs_are_streamed_to_the_same_values(name: str, dtype: torch.dtype) -> None:
    x = [torch.linspace(-6, 6 + i, 2**24 // dtype.itemsize + 77).to(dtype) for i in range(num_inputs(name))]
    equal(op(name)(*x)[-5000:], op(name)(*(each[-5000:] for each in x)))


@every
def test_bad_input_is_one_line(name: str) -> None:
    def refused(*args: Any, suffix: str = "", **given: Any) -> str:
        with pytest.raises(RuntimeError) as error:
            op(name, suffix)(*args, **given)
        message = str(error.value)
        assert message == message.splitlines()[0]
        return message

    x = made(name, (3, 4))
    who = f"gatewise::{name}"
    wrong = refused(*(each.double() for each in x))
    assert wrong == f"{who}: float32 or bfloat16 expected"
    wrong = refused(*x, suffix="_out", out=torch.empty(4, 3))
    assert wrong == f"{who}_out: shapes (3, 4) and (4, 3) differ"
    wrong = refused(torch.ones(3, 4).bfloat16(), *x, suffix="_backward")
    assert wrong == f"{who}_backward: the dtypes of the tensors differ"
    if len(x) == 2:
        assert refused(x[0], x[1].reshape(4, 3)) == f"{who}: shapes (3, 4) and (4, 3) differ"
        assert refused(x[0], x[1][0]) == f"{who}: shapes (3, 4) and (4) differ"
        assert refused(x[0], x[1].bfloat16()) == f"{who}: the dtypes of the tensors differ"


@every
def test_writing_to_a_saved_tensor_is_noticed(name: str) -> None:
    x = made(name, (4,))
    leaf = torch.ones(4, requires_grad=True)
    y = leaf * x[0]
    with torch.no_grad():
        op(name, "_out")(*x, out=x[0])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
