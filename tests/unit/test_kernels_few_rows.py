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
GATES = ("swiglu", "geglu", "geglu_tanh", "swiglu_clamped")
SIZES = [(1, 1, 1), (1, 384, 1024), (3, 385, 77), (8, 768, 64), (5, 17, 3), (9, 31, 10), (13, 100, 1), (17, 33, 5)]
WHOLE = [(4, 16, 4), (7, 64, 8), (32, 48, 12)]
"""Of whole vectors and panels."""
EMPTY = [(0, 5, 4), (4, 0, 4), (2, 5, 0)]


def few_rows(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    op: Any = torch.ops.gatewise.few_rows
    return op(x, weight)


def few_block(*matrices: torch.Tensor, gate: str = "swiglu", high: bool = False) -> torch.Tensor:
    op: Any = torch.ops.gatewise.few_block
    return op(*matrices, list(register()).index(gate), high)


def block_of(rows: int, dim: int, hidden: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """x, gate, up and down."""
    sizes = ((rows, dim), (hidden, dim), (hidden, dim), (dim + 2, hidden))
    return tuple(numbers(*size, dtype, seed) for seed, size in enumerate(sizes))


def numbers(rows: int, cols: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("size", SIZES + WHOLE + EMPTY)
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


@pytest.mark.parametrize("high", [False, True])
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", paths())
def test_the_block_has_the_bits_of_its_parts(path: str, dtype: torch.dtype, gate: str, high: bool) -> None:
    for rows, dim, hidden in ((1, 1, 1), (5, 33, 70), (32, 16, 9), (3, 7, 0), (0, 7, 5)):
        x, first, second, down = matrices = block_of(rows, dim, hidden, dtype)
        with using(path):
            both = few_rows(x, first), few_rows(x, second)
            want = few_rows(getattr(torch.ops.gatewise, gate)(*both, high), down)
            got = few_block(*matrices, gate=gate, high=high)
        assert got.shape == (rows, dim + 2)
        assert torch.equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_block_has_the_same_bits_for_any_threads_layouts_and_rows_beside(dtype: torch.dtype) -> None:
    matrices = block_of(9, 200, 1001, dtype)
    right = few_block(*matrices)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(few_block(*matrices), right)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(few_block(*[each.T.contiguous().T for each in matrices]), right)
    x, *weights = matrices
    for n in range(9):
        assert torch.equal(few_block(x[n:], *weights), right[n:])


def test_the_block_is_near_its_value_in_float64() -> None:
    """Each product's sums within the rounding of their length, the gate's activation to 4e-7."""
    x, first, second, down = matrices = tuple(each / 8 for each in block_of(16, 300, 500, torch.float32))
    wide = [each.double() for each in matrices]
    gate, up = wide[0] @ wide[1].T, wide[0] @ wide[2].T
    hidden = torch.nn.functional.silu(gate) * up
    by_gate, by_up = (x.double().abs() @ each.double().abs().T * 301 * 2.0**-24 for each in (first, second))
    by_hidden = (1.1 * by_gate + 4e-7) * (up.abs() + by_up) + (gate.abs() + by_gate) * by_up + 2.0**-23 * hidden.abs()
    bound = (by_hidden + 501 * 2.0**-24 * (hidden.abs() + by_hidden)) @ down.double().abs().T
    assert bool(((few_block(*matrices).double() - hidden @ wide[3].T).abs() <= bound).all())


def test_both_operators_keep_what_torch_asks_of_one() -> None:
    matrices = block_of(5, 33, 70, torch.float32)
    check: Any = torch.library.opcheck
    check(torch.ops.gatewise.few_rows.default, matrices[:2])
    check(torch.ops.gatewise.few_block.default, (*matrices, list(register()).index("swiglu"), True))


def test_a_block_that_cannot_be_says_why() -> None:
    x, gate, up, down = block_of(2, 3, 4, torch.float32)
    for matrices, message in (
        ((x, gate[:3], up, down), r"shapes \(3, 3\) and \(4, 3\) do not match"),
        ((x, gate, up[:, :2], down), r"shapes \(2, 3\) and \(4, 2\) do not match"),
        ((x, gate, up, down[:, :3]), r"shapes \(2, 4\) and \(5, 3\) do not match"),
        ((x, gate, up.bfloat16(), down), "of float32 or of bfloat16 expected"),
    ):
        with pytest.raises(RuntimeError, match=message):
            few_block(*matrices)
    op: Any = torch.ops.gatewise.few_block
    for place in (-1, 0, len(register())):  # gelu, at 0, is no gate
        with pytest.raises(RuntimeError, match=f"no gate at place {place}"):
            op(x, gate, up, down, place)


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
