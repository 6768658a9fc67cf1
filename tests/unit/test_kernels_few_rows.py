"""The product of few rows, and the block that uses it: right on every path, whatever the sizes and layouts."""

from typing import Any

import pytest
import torch

from gatewise import activations, kernels
from gatewise.kernels._feedforward import FeedForward
from gatewise.kernels._observed import paths, using
from gatewise.kernels._operators import register

pytestmark = pytest.mark.skipif(kernels.status().path is None, reason="the native kernels are absent")
register()
DTYPES = (torch.float32, torch.bfloat16)
SIZES = [(1, 1, 1), (1, 384, 1024), (3, 385, 77), (8, 768, 64), (5, 17, 3), (9, 31, 10), (13, 100, 1), (17, 33, 5)]
EMPTY = [(0, 5, 4), (4, 0, 4), (2, 5, 0)]


def few_rows(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    op: Any = torch.ops.gatewise.few_rows
    return op(x, weight)


def numbers(rows: int, cols: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("size", SIZES + EMPTY)
def test_the_product_is_right_to_rounding(size: tuple[int, int, int], path: str, dtype: torch.dtype) -> None:
    """Each sum to within the rounding of its length and of its own number."""
    n, cols, outputs = size
    x, weight = numbers(n, cols, dtype, 0), numbers(outputs, cols, dtype, 1)
    with using(path):
        got = few_rows(x, weight)
    assert got.shape == (n, outputs)
    assert got.dtype == dtype
    exact, whole = x.double() @ weight.double().T, x.double().abs() @ weight.double().abs().T
    last = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-24
    assert bool(((got.double() - exact).abs() <= cols * 2.0**-24 * whole + last * exact.abs() + 1e-38).all())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", paths())
def test_a_row_has_the_same_bits_whatever_stands_beside_it(path: str, dtype: torch.dtype) -> None:
    x, weight = numbers(19, 75, dtype, 0), numbers(23, 75, dtype, 1)
    with using(path):
        together = few_rows(x, weight)
        for n in range(19):
            assert torch.equal(few_rows(x[n : n + 1], weight), together[n : n + 1])
            assert torch.equal(few_rows(x[: n + 1], weight), together[: n + 1])
        assert torch.equal(few_rows(x, weight[5:9]), together[:, 5:9])


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_and_threads_give_the_same_bits(dtype: torch.dtype) -> None:
    x, weight = numbers(4, 300, dtype, 0), numbers(2000, 300, dtype, 1)
    right = few_rows(x, weight)
    wide = torch.cat([x, x], dim=1)
    assert torch.equal(few_rows(wide[:, 300:], weight), right)
    assert torch.equal(few_rows(x.T.contiguous().T, weight), right)
    assert torch.equal(few_rows(x, weight.T.contiguous().T), right)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(few_rows(x, weight), right)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("path", paths())
def test_nan_and_infinity_come_through(path: str) -> None:
    x = torch.tensor([[1.0, float("nan")], [float("inf"), 1.0], [1.0, 1.0]])
    for dtype in DTYPES:
        with using(path):
            got = few_rows(x.to(dtype), torch.ones(3, 2).to(dtype))
        assert bool(got[0].isnan().all())
        assert bool((got[1] == float("inf")).all())
        assert bool((got[2] == 2).all())


def test_bad_input_names_both_shapes() -> None:
    for x, weight, message in (
        (torch.ones(2, 3), torch.ones(4, 5), r"shapes \(2, 3\) and \(4, 5\) do not match"),
        (torch.ones(3), torch.ones(4, 3), r"shapes \(3\) and \(4, 3\) do not match"),
        (torch.ones(2, 3), torch.ones(4, 3).bfloat16(), "of float32 or of bfloat16 expected"),
        (torch.ones(2, 3).double(), torch.ones(4, 3).double(), "of float32 or of bfloat16 expected"),
    ):
        with pytest.raises(RuntimeError, match=message):
            few_rows(x, weight)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["swiglu", "gelu", "reglu", "relu"])
def test_a_block_of_few_tokens_is_the_stock_block(activation: str, dtype: torch.dtype, bias: bool) -> None:
    stock = activations.FeedForward(48, 80, activation, bias=bias).to(dtype).eval()
    ours = FeedForward.of(stock, path="rows")
    rounding = 2e-2 if dtype == torch.bfloat16 else 1e-5
    for shape in ((1, 48), (3, 48), (2, 5, 48)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)
        with torch.no_grad():
            for _ in range(2):  # the second call finds its way again
                torch.testing.assert_close(ours(x), stock(x), rtol=10 * rounding, atol=rounding)
            assert ours.path_of(x).startswith("rows")
            stock.down.weight.mul_(1.5)  # the weights are read where they lie
            torch.testing.assert_close(ours(x), stock(x), rtol=10 * rounding, atol=2 * rounding)
        assert ours(x).requires_grad


def test_a_named_way_that_is_not_to_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    block = FeedForward(48, 80, path="rows").eval()
    monkeypatch.setattr("gatewise.kernels._block_few.available", lambda: False)
    with torch.no_grad():
        x = torch.ones(2, 48)
        torch.testing.assert_close(block(x), activations.FeedForward.forward(block, x), rtol=1e-4, atol=1e-5)
        assert block.path_of(x) == "blocked: path='rows', which needs the native kernels"
