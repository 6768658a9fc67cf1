"""The matrix products of a linear layer: each way exact to rounding against float64, for any shape and strides."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gatewise.core import GatewiseError
from gatewise.kernels import _products
from gatewise.kernels._products import WAYS, by_bias, by_input, by_weight, forward

EPSILON = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
"""Half a unit in the last place of a number near 1."""
LAYOUTS = ("rows", "columns", "padded", "stepped", "reversed", "expanded")

needs_onednn = pytest.mark.skipif(_products.missing("onednn") is not None, reason="no oneDNN here")
each_way = pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=[pytest.mark.skip(reason=why)] if (why := _products.missing(way)) else [])
        for way in WAYS
    ],
)


def matrix(rows: int, columns: int, layout: str, dtype: torch.dtype, seed: int) -> Tensor:
    """Random numbers, lying in memory as told."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    if layout == "rows":
        return random(rows, columns)
    if layout == "columns":
        return random(columns, rows).t()
    if layout == "padded":
        return random(rows + 3, columns + 5)[1 : rows + 1, 2 : columns + 2]
    if layout == "stepped":
        return random(rows * 2, columns * 3)[::2, ::3]
    if layout == "reversed":
        return random(rows, columns).flip(0, 1)
    return random(1, columns).expand(rows, columns)


def assert_rounded(found: Tensor, one: Tensor, other: Tensor, plus: Tensor | None = None) -> None:
    """`found` is one other + plus, up to rounding: sums in float32 in some order, and one rounding to the dtype.

    The bound of a sum of k products in any order, k u |one| |other| with u of float32, plus the last rounding.
    """
    exact, size = one.double() @ other.double(), one.double().abs() @ other.double().abs()
    if plus is not None:
        exact, size = exact + plus.double(), size + plus.double().abs()
    bound = (one.shape[1] + 1) * EPSILON[torch.float32] * size + EPSILON[found.dtype] * exact.abs() + 1e-30
    assert found.shape == exact.shape
    assert bool(((found.double() - exact).abs() <= bound).all())


@needs_onednn
@given(
    sizes=st.tuples(*[st.integers(0, 20)] * 3),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 3),
    dtype=st.sampled_from(_products.DTYPES),
    way=st.sampled_from(WAYS),
    bias=st.sampled_from(["none", "dense", "stepped", "expanded"]),
    seed=st.integers(0, 1000),
)
def test_products_are_exact_to_rounding(
    sizes: tuple[int, int, int],
    layouts: tuple[str, str, str],
    dtype: torch.dtype,
    way: str,
    bias: str,
    seed: int,
) -> None:
    if way not in _products.available(dtype):
        return
    n, n_in, n_out = sizes
    x, weight = matrix(n, n_in, layouts[0], dtype, seed), matrix(n_out, n_in, layouts[1], dtype, seed + 1)
    grad = matrix(n, n_out, layouts[2], dtype, seed + 2)
    plus = {
        "none": None,
        "dense": matrix(1, n_out, "rows", dtype, seed + 3)[0],
        "stepped": matrix(1, 2 * n_out, "rows", dtype, seed + 3)[0, ::2],
        "expanded": matrix(1, 1, "rows", dtype, seed + 3)[0].expand(n_out),
    }[bias]
    before = [each.clone() for each in (x, weight, grad)]
    assert_rounded(forward(x, weight, plus, way), x, weight.t(), plus)
    assert_rounded(by_input(grad, weight, way), grad, weight)
    assert_rounded(by_weight(grad, x, way), grad.t(), x)
    if way == "onednn" and dtype is torch.bfloat16:
        turned = _products.BY_WEIGHT["turned"](grad, x, None)
        assert turned.is_contiguous()
        assert_rounded(turned, grad.t(), x)
        assert torch.equal(_products.BY_WEIGHT["turned"](grad, x, torch.empty_like(turned)), turned)
    assert all(torch.equal(now, then) for now, then in zip((x, weight, grad), before, strict=True))


@each_way
@pytest.mark.parametrize(("n", "n_in", "n_out"), [(1, 384, 1024), (129, 250, 333), (300, 1024, 384)])
def test_sizes_in_use_are_exact_to_rounding(way: str, n: int, n_in: int, n_out: int) -> None:
    x, weight = matrix(n, n_in, "rows", torch.float32, 0), matrix(n_out, n_in, "rows", torch.float32, 1)
    grad, bias = matrix(n, n_out, "rows", torch.float32, 2), matrix(1, n_out, "rows", torch.float32, 3)[0]
    assert_rounded(forward(x, weight, bias, way), x, weight.t(), bias)
    assert_rounded(by_input(grad, weight, way), grad, weight)
    assert_rounded(by_weight(grad, x, way), grad.t(), x)
    assert_rounded(by_bias(grad)[None], torch.ones(1, n), grad)


def test_the_test_would_see_a_wrong_product() -> None:
    x, weight = matrix(5, 7, "rows", torch.float32, 0), matrix(4, 7, "rows", torch.float32, 1)
    y = forward(x, weight, None, "torch")
    with pytest.raises(AssertionError):
        assert_rounded(y + 1e-5, x, weight.t())
    with pytest.raises(AssertionError):
        assert_rounded(torch.zeros_like(y), x, weight.t())


@each_way
def test_what_is_not_finite_stays_so(way: str) -> None:
    x = torch.zeros(3, 40)
    x[0, 0], x[1, 1], x[2, 2] = float("inf"), float("nan"), float("-inf")
    y = forward(x, torch.ones(20, 40), None, way)
    assert torch.equal(y[0], torch.full((20,), float("inf")))
    assert bool(y[1].isnan().all())
    assert torch.equal(y[2], torch.full((20,), float("-inf")))
    assert bool(forward(x, torch.zeros(20, 40), None, way).isnan().all())


@each_way
def test_an_out_takes_the_result(way: str) -> None:
    x, weight, grad = torch.randn(6, 10), torch.randn(8, 10), torch.randn(6, 8)
    for call, shape in (
        (lambda out: forward(x, weight, weight[:, 0], way, out), (6, 8)),
        (lambda out: by_input(grad, weight, way, out), (6, 10)),
        (lambda out: by_weight(grad, x, way, out), (8, 10)),
    ):
        out = torch.full(shape, float("nan"))
        assert call(out) is out
        assert torch.equal(out, call(None))
        padded = torch.full((shape[0], shape[1] + 2), float("nan"))
        call(padded[:, : shape[1]])
        torch.testing.assert_close(padded[:, : shape[1]], out)
        assert bool(padded[:, shape[1] :].isnan().all())


@each_way
def test_an_out_that_overlaps_an_input_is_refused(way: str) -> None:
    x, weight, whole = torch.randn(4, 4), torch.randn(4, 4), torch.randn(8, 12)
    message = r"forward: out \[4, 4\] overlaps an input \[4, 4\]"
    for one, other, out in (
        (x, weight, x),
        (x, weight, weight.t()),
        (whole[:4, :4], weight, whole[2:6, :4]),
        (whole[:4, :4], weight, whole[:4, 3:7]),
        (whole[:4, 8:], weight, whole[1:5, 7:11]),
        (x[:1].expand(4, 4), weight, x),
    ):
        with pytest.raises(GatewiseError, match=message):
            forward(one, other, None, way, out)
    with pytest.raises(GatewiseError, match=r"out \[4, 4\] overlaps an input \[4\]"):
        forward(x, weight, whole[3, :4], way, whole[:4, :4])
    for first, out in (
        (whole[:4, :4], whole[:4, 4:8]),
        (whole[:4, 8:], whole[:4, 4:8]),
        (whole[:4, :4], whole[4:, :4]),
    ):
        expected = first @ weight.t()
        torch.testing.assert_close(forward(first, weight, None, way, out), expected)


@needs_onednn
@pytest.mark.parametrize("dtype", _products.DTYPES)
def test_packed_weights_give_the_same(dtype: torch.dtype) -> None:
    if not _products.packable(dtype):
        pytest.skip(f"no packed {dtype} here")
    weight = matrix(33, 20, "rows", dtype, 0)
    packed = _products.pack(weight, 128)
    for n in (1, 2, 50):
        x = matrix(n, 20, "rows", dtype, n)
        assert_rounded(_products.onednn(x, packed, weight[:, 0]), x, weight.t(), weight[:, 0])


@each_way
def test_nothing_is_recorded(way: str) -> None:
    x, weight = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    assert not forward(x, weight, None, way).requires_grad
    assert not by_input(torch.randn(3, 5), weight, way).requires_grad
    assert not by_weight(torch.randn(3, 5), x, way).requires_grad


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: forward(torch.ones(2, 3), torch.ones(4, 5), None, "torch"), "shapes [2, 3] and [4, 5] do not match"),
        (lambda: by_input(torch.ones(2, 3), torch.ones(4, 5), "torch"), "shapes [2, 3] and [4, 5] do not match"),
        (lambda: by_weight(torch.ones(2, 3), torch.ones(4, 5), "torch"), "shapes [2, 3] and [4, 5] do not match"),
        (lambda: forward(torch.ones(2, 2, 3), torch.ones(4, 3), None, "torch"), "shapes [2, 2, 3] and [4, 3]"),
        (
            lambda: forward(torch.ones(2, 3), torch.ones(4, 3), torch.ones(3), "torch"),
            "a bias of [3] (torch.float32) does not match a weight of [4, 3] (torch.float32)",
        ),
        (
            lambda: forward(torch.ones(2, 3), torch.ones(4, 3).bfloat16(), None, "torch"),
            "two tensors of float32 or bfloat16, got torch.float32 and torch.bfloat16",
        ),
        (lambda: by_input(torch.ones(2, 3).double(), torch.ones(3, 4).double(), "torch"), "got torch.float64"),
        (
            lambda: by_weight(torch.ones(2, 3, device="meta"), torch.ones(2, 3, device="meta"), "torch"),
            "two tensors on the CPU, got meta and meta",
        ),
        (
            lambda: forward(torch.ones(2, 3), torch.ones(4, 3), None, "torch", torch.ones(4, 2)),
            "out must be [2, 4] of torch.float32, got [4, 2] of torch.float32",
        ),
        (lambda: forward(torch.ones(2, 3), torch.ones(4, 3), None, "onedn"), "did you mean 'onednn'?"),
    ],
)
def test_bad_input_gets_one_line(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(GatewiseError) as error:
        call()
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) <= 2


def test_without_onednn_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    for function in (_products.missing, _products.available, _products._bfloat16):
        function.cache_clear()
    try:
        assert "onednn" not in _products.available()
        assert not _products.packable()
        with pytest.raises(GatewiseError, match="was built without oneDNN"):
            forward(torch.ones(2, 3), torch.ones(4, 3), None, "onednn")
        assert forward(torch.ones(2, 3), torch.ones(4, 3), None, "torch").shape == (2, 4)
    finally:
        for function in (_products.missing, _products.available, _products._bfloat16):
            function.cache_clear()
